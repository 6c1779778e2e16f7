import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { ServerError, Unreachable } from "../src/api";
import { Autosave, type Content, type SaveState } from "../src/autosave";

/** A server with revisions; `hold` delays its responses. */
function setup() {
  const server = { revision: 3, objects: [] as unknown[], error: null as Error | null, hold: null as Promise<void> | null };
  const bodies: (Content & { revision: number })[] = [];
  const states: SaveState[] = [];
  let objects: unknown[] = [];
  const autosave = new Autosave<Content>(3, {
    content: () => ({ state: "open", objects }),
    onState: (state) => states.push(state),
    put: async (body) => {
      bodies.push(body);
      if (server.hold) await server.hold;
      if (server.error) throw server.error;
      if (body.revision !== server.revision) throw new ServerError(409, "Changed elsewhere.");
      server.objects = body.objects;
      return { revision: ++server.revision };
    },
  });
  const change = (next: unknown[]) => {
    objects = next;
    autosave.markChanged();
  };
  return { server, bodies, states, autosave, change };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("Autosave", () => {
  it("combines changes in quick succession into one request", async () => {
    const { server, bodies, autosave, change } = setup();
    change([1]);
    change([1, 2]);
    expect(autosave.unsaved).toBe(true);
    await vi.advanceTimersByTimeAsync(400);
    expect(bodies).toHaveLength(1);
    expect(server.objects).toEqual([1, 2]);
    expect(autosave.unsaved).toBe(false);
  });

  it("sends changes made during a request afterwards, on the new revision", async () => {
    const { server, bodies, autosave, change } = setup();
    let respond = () => {};
    server.hold = new Promise((resolve) => (respond = resolve));
    change([1]);
    await vi.advanceTimersByTimeAsync(400);
    change([2]);
    await vi.advanceTimersByTimeAsync(400);
    expect(bodies).toHaveLength(1);
    server.hold = null;
    respond();
    await vi.advanceTimersByTimeAsync(800);
    expect(bodies.map((one) => one.revision)).toEqual([3, 4]);
    expect(server.objects).toEqual([2]);
    expect(autosave.state).toBe("saved");
  });

  it("reports an unreachable server and saves when it is back", async () => {
    const { server, states, autosave, change } = setup();
    server.error = new Unreachable("unreachable");
    change([1]);
    await vi.advanceTimersByTimeAsync(400);
    expect(autosave.state).toBe("offline");
    server.error = null;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(autosave.state).toBe("saved");
    expect(server.objects).toEqual([1]);
    expect(states).toContain("offline");
  });

  it("overwrites nothing after a conflict until the user has chosen", async () => {
    const { server, bodies, autosave, change } = setup();
    server.revision = 9;
    server.objects = ["theirs"];
    change(["mine"]);
    await vi.advanceTimersByTimeAsync(400);
    expect(autosave.state).toBe("conflict");
    change(["mine", "too"]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(bodies).toHaveLength(1);
    expect(server.objects).toEqual(["theirs"]);
    autosave.resolveConflict(9, true);
    await vi.advanceTimersByTimeAsync(400);
    expect(server.objects).toEqual(["mine", "too"]);
  });

  it("does not retry what the server rejects", async () => {
    const { server, bodies, autosave, change } = setup();
    server.error = new ServerError(422, "no");
    change([1]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(autosave.state).toBe("rejected");
    expect(bodies).toHaveLength(1);
    expect(autosave.unsaved).toBe(true);
  });

  it("flush resolves when everything is on disk", async () => {
    const { server, autosave, change } = setup();
    change([7]);
    await autosave.flush();
    expect(server.objects).toEqual([7]);
  });

  it("saves on exit with the revision that the request in flight will create", async () => {
    const { server, bodies, autosave, change } = setup();
    let respond = () => {};
    server.hold = new Promise((resolve) => (respond = resolve));
    change([1]);
    await vi.advanceTimersByTimeAsync(400);
    change([2]);
    autosave.saveOnExit();
    respond();
    await vi.advanceTimersByTimeAsync(0);
    expect(bodies.map((one) => one.revision).slice(0, 2)).toEqual([3, 4]);
    expect(server.objects).toEqual([2]);
  });
});
