import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Offline, Refusal } from "../src/api";
import { type Content, Saver, type SaveState } from "../src/saver";

/** A server that keeps revisions, and answers when told to. */
function setup() {
  const server = { revision: 3, objects: [] as unknown[], error: null as Error | null, hold: null as Promise<void> | null };
  const bodies: (Content & { revision: number })[] = [];
  const states: SaveState[] = [];
  let objects: unknown[] = [];
  const saver = new Saver<Content>(3, {
    content: () => ({ state: "open", objects }),
    told: (state) => states.push(state),
    put: async (body) => {
      bodies.push(body);
      if (server.hold) await server.hold;
      if (server.error) throw server.error;
      if (body.revision !== server.revision) throw new Refusal(409, "Changed elsewhere.");
      server.objects = body.objects;
      return { revision: ++server.revision };
    },
  });
  const change = (next: unknown[]) => {
    objects = next;
    saver.changed();
  };
  return { server, bodies, states, saver, change };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("Saver", () => {
  it("waits a moment and sends once what changed meanwhile", async () => {
    const { server, bodies, saver, change } = setup();
    change([1]);
    change([1, 2]);
    expect(saver.unsaved).toBe(true);
    await vi.advanceTimersByTimeAsync(400);
    expect(bodies).toHaveLength(1);
    expect(server.objects).toEqual([1, 2]);
    expect(saver.unsaved).toBe(false);
  });

  it("sends again what changed while it was sending, on the new revision", async () => {
    const { server, bodies, saver, change } = setup();
    let go = () => {};
    server.hold = new Promise((resolve) => (go = resolve));
    change([1]);
    await vi.advanceTimersByTimeAsync(400);
    change([2]);
    await vi.advanceTimersByTimeAsync(400);
    expect(bodies).toHaveLength(1);
    server.hold = null;
    go();
    await vi.advanceTimersByTimeAsync(800);
    expect(bodies.map((one) => one.revision)).toEqual([3, 4]);
    expect(server.objects).toEqual([2]);
    expect(saver.state).toBe("saved");
  });

  it("tells that the server is away, and saves when it is back", async () => {
    const { server, states, saver, change } = setup();
    server.error = new Offline("away");
    change([1]);
    await vi.advanceTimersByTimeAsync(400);
    expect(saver.state).toBe("offline");
    server.error = null;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(saver.state).toBe("saved");
    expect(server.objects).toEqual([1]);
    expect(states).toContain("offline");
  });

  it("overwrites nothing after a conflict until the user has chosen", async () => {
    const { server, bodies, saver, change } = setup();
    server.revision = 9;
    server.objects = ["theirs"];
    change(["mine"]);
    await vi.advanceTimersByTimeAsync(400);
    expect(saver.state).toBe("conflict");
    change(["mine", "too"]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(bodies).toHaveLength(1);
    expect(server.objects).toEqual(["theirs"]);
    saver.settle(9, true);
    await vi.advanceTimersByTimeAsync(400);
    expect(server.objects).toEqual(["mine", "too"]);
  });

  it("does not ask for ever what is refused", async () => {
    const { server, bodies, saver, change } = setup();
    server.error = new Refusal(422, "no");
    change([1]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(saver.state).toBe("refused");
    expect(bodies).toHaveLength(1);
    expect(saver.unsaved).toBe(true);
  });

  it("flush ends when everything is on disk", async () => {
    const { server, saver, change } = setup();
    change([7]);
    await saver.flush();
    expect(server.objects).toEqual([7]);
  });

  it("says farewell with the revision that the request under way will make", async () => {
    const { server, bodies, saver, change } = setup();
    let go = () => {};
    server.hold = new Promise((resolve) => (go = resolve));
    change([1]);
    await vi.advanceTimersByTimeAsync(400);
    change([2]);
    saver.farewell();
    go();
    await vi.advanceTimersByTimeAsync(0);
    expect(bodies.map((one) => one.revision).slice(0, 2)).toEqual([3, 4]);
    expect(server.objects).toEqual([2]);
  });
});
