import { describe, expect, it } from "vitest";

import type { Point } from "../src/types";
import { boxBetween, fitView, toImage, toScreen, zoomView } from "../src/view";

describe("view", () => {
  const [image, canvas] = [{ width: 640, height: 480 }, { width: 800, height: 500 }];

  it("keeps the point under the pointer in place when zooming", () => {
    const view = fitView(image, canvas);
    const anchor: Point = [300, 200];
    const before = toImage(view, anchor);
    const after = toImage(zoomView(view, anchor, 2.5, image, canvas), anchor);
    expect(after[0]).toBeCloseTo(before[0]);
    expect(after[1]).toBeCloseTo(before[1]);
  });

  it("converts to the screen and back", () => {
    const view = { scale: 1.7, x: -31, y: 12 };
    const [x, y] = toImage(view, toScreen(view, [12.5, 99]));
    expect(x).toBeCloseTo(12.5);
    expect(y).toBeCloseTo(99);
  });

  it("fits the whole image", () => {
    const view = fitView(image, canvas);
    const [x0, y0] = toScreen(view, [0, 0]);
    const [x1, y1] = toScreen(view, [640, 480]);
    expect(Math.min(x0, y0)).toBeGreaterThanOrEqual(0);
    expect([x1 <= 800, y1 <= 500]).toEqual([true, true]);
  });

  it("makes a box of two corners in any order", () => {
    expect(boxBetween([5, 1], [2, 9])).toEqual([2, 1, 5, 9]);
  });
});
