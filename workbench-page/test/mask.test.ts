import { describe, expect, it } from "vitest";

import { type Mask, area, boxOf, containsPoint, emptyMask, fromRle, grown, iou, outline, paint, toRle, trimmed } from "../src/mask";
import { decodeCounts } from "../src/rle";
import type { Box, Rle } from "../src/types";
import examples from "./rle-examples.json";

// written by pycocotools; tests/unit/test_workbench_page.py checks pycocotools against the same file
describe.each(examples)("run lengths: $name", (example) => {
  const rle = { size: example.size, counts: example.counts } as Rle;
  const mask = fromRle(rle);

  it("decode to the right area, box and pixels", () => {
    expect(area(mask)).toBe(example.area);
    if (example.box) expect(boxOf(mask)).toEqual(example.box);
    example.rows?.forEach((row, y) => [...row].forEach((sign, x) => expect(containsPoint(mask, [x + 0.5, y + 0.5])).toBe(sign === "#")));
  });

  it("encode as in pycocotools", () => {
    expect(toRle(mask)).toEqual(rle);
    expect(toRle(grown(mask, [0, 0, example.size[1]!, example.size[0]!]))).toEqual(rle);
  });
});

describe("invalid run lengths", () => {
  it.each([["too short", "11"], ["cut in the middle of a number", "h"], ["unexpected character", "~"], ["too long", "ooooo"]])("%s", (_name, counts) => {
    expect(() => decodeCounts({ size: [4, 4], counts })).toThrow(RangeError);
  });
});

describe("painting", () => {
  const blank = (box: Box) => grown(emptyMask(100, 80), box);

  it("paints a disc of the given radius", () => {
    const mask = blank([0, 0, 100, 80]);
    paint(mask, [50, 40], [50, 40], 10, 1);
    expect(Math.abs(area(mask) - Math.PI * 100)).toBeLessThan(10);
    expect(boxOf(trimmed(mask))).toEqual([40, 30, 60, 50]);
  });

  it("paints lines without gaps and clips them to the image", () => {
    const mask = blank([0, 0, 100, 80]);
    paint(mask, [-20, 40], [120, 40], 3, 1);
    for (let x = 0; x < 100; x++) expect(containsPoint(mask, [x + 0.5, 40])).toBe(true);
    expect(area(mask)).toBe(600);
  });

  it("erases what it painted", () => {
    const mask = blank([10, 10, 60, 60]);
    paint(mask, [30, 30], [40, 40], 6, 1);
    paint(mask, [30, 30], [40, 40], 6, 0);
    expect(area(mask)).toBe(0);
    expect(trimmed(mask).w).toBe(0);
  });

  it("does not change the mask that it was grown from", () => {
    const first = blank([0, 0, 10, 10]);
    paint(grown(first, [0, 0, 20, 20]), [5, 5], [5, 5], 4, 1);
    expect(area(first)).toBe(0);
  });
});

it("the outline follows every pixel edge between inside and outside", () => {
  const mask = grown(emptyMask(9, 9), [2, 3, 6, 5]);
  mask.data.fill(1);
  const lines = outline(mask);
  let length = 0;
  for (let at = 0; at < lines.length; at += 4) {
    length += Math.abs(lines[at + 2]! - lines[at]!) + Math.abs(lines[at + 3]! - lines[at + 1]!);
  }
  expect(length).toBe(2 * (4 + 2));
  expect(lines.length / 4).toBe(4);
});

describe("iou", () => {
  it("compares windows of the same image", () => {
    const square = (x: number, y: number, side: number): Mask => ({ width: 20, height: 20, x, y, w: side, h: side, data: new Uint8Array(side * side).fill(1) });
    expect(iou(square(2, 3, 4), square(2, 3, 4))).toBe(1);
    expect(iou(square(0, 0, 4), square(2, 0, 4))).toBeCloseTo(8 / 24);
    expect(iou(square(0, 0, 4), square(10, 10, 4))).toBe(0);
  });
});
