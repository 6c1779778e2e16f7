import { describe, expect, it } from "vitest";

import type { Adapter, Box, Picture, Point, Polygon, Project } from "../src/contract";
import { History } from "../src/history";
import { unchosen } from "../src/jobs";
import { around } from "../src/parts/Crop";
import { Latest } from "../src/latest";
import { cornerAt, edgeAt, inserted, moved, removed } from "../src/polygons";
import { filtered, next, ordered } from "../src/queue";
import { boxBetween, fitted, toPicture, toScreen, zoomed } from "../src/view";

const picture = (name: string, state: Picture["state"], uncertainty: number | null = null): Picture => ({
  id: name,
  name,
  width: 10,
  height: 10,
  state,
  objects: 0,
  uncertainty,
  error: null,
});

describe("queue", () => {
  const list = [
    picture("a10", "open"),
    picture("a9", "open"),
    picture("sure", "proposed", 0.1),
    picture("done", "accepted"),
    picture("doubtful", "proposed", 0.8),
    picture("nothing", "proposed", null),
    picture("broken", "failed"),
  ];

  it("has what is least certain first, then open ones by name and number", () => {
    expect(ordered(list).map((one) => one.id)).toEqual(["nothing", "doubtful", "sure", "a9", "a10", "done", "broken"]);
  });

  it("goes on after the open picture, round the end, to what waits", () => {
    expect(next(list, "doubtful")?.id).toBe("sure");
    expect(next(list, "a10")?.id).toBe("nothing");
    expect(next(list, null)?.id).toBe("nothing");
    expect(next([picture("x", "open")], "x")).toBeNull();
  });

  it("filters by state and name", () => {
    expect(filtered(list, "todo", "a")).toHaveLength(2);
    expect(filtered(list, "accepted", "")).toHaveLength(1);
  });
});

describe("Latest", () => {
  it("drops the answer and the error of an older question", async () => {
    const latest = new Latest();
    let first = (_: string) => {};
    let fail = (_: Error) => {};
    const slow = latest.run(() => new Promise<string>((resolve) => (first = resolve)));
    const broken = latest.run(() => new Promise<string>((_, reject) => (fail = reject)));
    const fast = latest.run(() => Promise.resolve("new"));
    first("old");
    fail(new Error("old"));
    expect(await Promise.all([slow, broken, fast])).toEqual([null, null, "new"]);
  });

  it("aborts what is no longer wanted", async () => {
    const latest = new Latest();
    let signal: AbortSignal | undefined;
    void latest.run((given) => ((signal = given), new Promise(() => {})));
    latest.drop();
    expect(signal?.aborted).toBe(true);
  });
});

describe("History", () => {
  it("goes back and forth, and forgets what was undone at a new step", () => {
    const history = new History(0);
    [1, 2, 3].forEach((value) => history.push(value));
    expect([history.undo(), history.undo(), history.value]).toEqual([true, true, 1]);
    expect([history.redo(), history.value]).toEqual([true, 2]);
    history.push(9);
    expect([history.redo(), history.value]).toEqual([false, 9]);
  });
});

describe("view", () => {
  const [size, canvas] = [{ width: 640, height: 480 }, { width: 800, height: 500 }];

  it("keeps the point under the mouse where it is when zooming", () => {
    const view = fitted(size, canvas);
    const at: Point = [300, 200];
    const before = toPicture(view, at);
    const after = toPicture(zoomed(view, at, 2.5, size, canvas), at);
    expect(after[0]).toBeCloseTo(before[0]);
    expect(after[1]).toBeCloseTo(before[1]);
  });

  it("goes to the screen and back", () => {
    const view = { scale: 1.7, x: -31, y: 12 };
    const [x, y] = toPicture(view, toScreen(view, [12.5, 99]));
    expect([x, y].map((value) => Math.round(value * 1e6) / 1e6)).toEqual([12.5, 99]);
  });

  it("shows the whole picture", () => {
    const view = fitted(size, canvas);
    const [x0, y0] = toScreen(view, [0, 0]);
    const [x1, y1] = toScreen(view, [640, 480]);
    expect(Math.min(x0, y0)).toBeGreaterThanOrEqual(0);
    expect([x1 <= 800, y1 <= 500]).toEqual([true, true]);
  });

  it("has a box whichever corner comes first", () => {
    expect(boxBetween([5, 1], [2, 9])).toEqual([2, 1, 5, 9]);
  });
});

describe("polygons", () => {
  const square: Polygon = { outer: [[0, 0], [10, 0], [10, 10], [0, 10]], holes: [[[4, 4], [6, 4], [5, 6]]] };

  it("finds corners and edges within reach", () => {
    expect(cornerAt([square], [9, 1], 2)).toEqual({ polygon: 0, ring: 0, corner: 1 });
    expect(cornerAt([square], [5, 5.2], 1)).toEqual({ polygon: 0, ring: 1, corner: 2 });
    expect(cornerAt([square], [5, 0], 2)).toBeNull();
    expect(edgeAt([square], [5, 0.5], 1)).toEqual({ polygon: 0, ring: 0, corner: 1 });
    expect(edgeAt([square], [0.5, 5], 1)).toEqual({ polygon: 0, ring: 0, corner: 4 });
  });

  it("moves, adds and removes without changing what was", () => {
    const copy = structuredClone(square);
    expect(moved([square], { polygon: 0, ring: 0, corner: 2 }, [12, 12])[0]!.outer[2]).toEqual([12, 12]);
    expect(inserted([square], { polygon: 0, ring: 0, corner: 4 }, [-1, 5])[0]!.outer).toHaveLength(5);
    expect(removed([square], { polygon: 0, ring: 1, corner: 0 })[0]!.holes).toEqual([]);
    const triangle: Polygon = { outer: [[0, 0], [1, 0], [0, 1]], holes: [] };
    expect(removed([triangle], { polygon: 0, ring: 0, corner: 0 })).toEqual([]);
    expect(square).toEqual(copy);
  });
});

describe("who answers clicks where nobody has chosen", () => {
  const adapter = (name: string, held_out_miou: number | null, start_miou: number | null, promptless = false) =>
    ({ name, promptless, figures: { held_out_miou, start_miou } }) as Adapter;
  const chosen = (...adapters: Adapter[]) => unchosen({ adapters } as Project);

  it("is the newest adapter that is not worse than the base and takes clicks", () => {
    expect(chosen(adapter("a", 0.7, 0.5), adapter("b", 0.8, 0.5))).toBe("b");
    expect(chosen(adapter("a", 0.7, 0.5), adapter("b", 0.4, 0.5), adapter("c", 0.9, 0.5, true))).toBe("a");
    expect(chosen(adapter("a", null, null))).toBe("a");
  });

  it("else the base", () => {
    expect(chosen()).toBeNull();
    expect(chosen(adapter("a", 0.4, 0.5))).toBeNull();
  });
});

describe("the part of a picture that is compared", () => {
  it.each([
    { name: "a tall object in a tall picture", boxes: [[100, 20, 220, 500]], size: [339, 512] },
    { name: "a wide one", boxes: [[5, 100, 630, 140]], size: [640, 480] },
    { name: "two far apart", boxes: [[0, 0, 10, 10], [300, 400, 339, 512]], size: [339, 512] },
    { name: "a small one at the edge", boxes: [[0, 470, 8, 480]], size: [640, 480] },
  ] as { name: string; boxes: Box[]; size: Point }[])("holds all of $name", ({ boxes, size: [width, height] }) => {
    const [left, top, right, bottom] = around(boxes, width, height);
    expect(Math.min(left, top, width - right, height - bottom)).toBeGreaterThanOrEqual(0);
    for (const [x0, y0, x1, y1] of boxes) expect([left <= x0, top <= y0, right >= x1, bottom >= y1]).toEqual(Array(4).fill(true));
  });

  it("is the whole picture where there is no box", () => {
    expect(around([[0, 0, 0, 0]], 64, 48)).toEqual([0, 0, 64, 48]);
  });
});
