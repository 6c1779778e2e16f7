import { describe, expect, it } from "vitest";

import { cropAround } from "../src/components/MaskCrop";
import type { Box, Point } from "../src/types";

describe("the crop of a comparison", () => {
  it.each([
    { name: "a tall object in a tall image", boxes: [[100, 20, 220, 500]], size: [339, 512] },
    { name: "a wide one", boxes: [[5, 100, 630, 140]], size: [640, 480] },
    { name: "two far apart", boxes: [[0, 0, 10, 10], [300, 400, 339, 512]], size: [339, 512] },
    { name: "a small one at the edge", boxes: [[0, 470, 8, 480]], size: [640, 480] },
  ] as { name: string; boxes: Box[]; size: Point }[])("contains all of $name", ({ boxes, size: [width, height] }) => {
    const [left, top, right, bottom] = cropAround(boxes, width, height);
    expect(Math.min(left, top, width - right, height - bottom)).toBeGreaterThanOrEqual(0);
    for (const [x0, y0, x1, y1] of boxes) expect([left <= x0, top <= y0, right >= x1, bottom >= y1]).toEqual(Array(4).fill(true));
  });

  it("is the whole image where there is no box", () => {
    expect(cropAround([[0, 0, 0, 0]], 64, 48)).toEqual([0, 0, 64, 48]);
  });
});
