/** Binary masks, stored as the window around their pixels: twenty objects in a 12-megapixel image stay small. */

import { decodeCounts, encodeCounts } from "./rle";
import type { Box, Point, Rle } from "./types";

export interface Mask {
  /** Size of the image. */
  readonly width: number;
  readonly height: number;
  /** Window in the image: left, top, width, height. */
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  /** Pixels of the window, row by row: 0 or 1. */
  readonly data: Uint8Array;
}

export const emptyMask = (width: number, height: number): Mask =>
  ({ width, height, x: 0, y: 0, w: 0, h: 0, data: new Uint8Array(0) });

/** Decodes run lengths. Throws RangeError if they are invalid. */
export function fromRle(rle: Rle): Mask {
  const [height, width] = rle.size;
  const runs = decodeCounts(rle);
  const [x0, y0, x1, y1] = extent(runs, height);
  if (x1 <= x0) return emptyMask(width, height);
  const w = x1 - x0;
  const h = y1 - y0;
  const data = new Uint8Array(w * h);
  let at = 0;
  runs.forEach((run, index) => {
    if (index & 1) for (let k = at; k < at + run; k++) data[((k % height) - y0) * w + Math.floor(k / height) - x0] = 1;
    at += run;
  });
  return { width, height, x: x0, y: y0, w, h, data };
}

/** Bounding box of the set pixels. */
function extent(runs: readonly number[], height: number): Box {
  let [x0, y0, x1, y1] = [Infinity, Infinity, 0, 0];
  let at = 0;
  runs.forEach((run, index) => {
    if (index & 1 && run > 0) {
      const first = Math.floor(at / height);
      const last = Math.floor((at + run - 1) / height);
      x0 = Math.min(x0, first);
      x1 = Math.max(x1, last + 1);
      const spansColumns = first !== last;
      y0 = Math.min(y0, spansColumns ? 0 : at % height);
      y1 = Math.max(y1, spansColumns ? height : (at % height) + run);
    }
    at += run;
  });
  return [x0, y0, x1, y1];
}

export function toRle(mask: Mask): Rle {
  const { width, height, x, y, w, h, data } = mask;
  const runs: number[] = [];
  let value = 0;
  let run = 0;
  const push = (bit: number, length: number) => {
    if (length === 0) return;
    if (bit === value) run += length;
    else {
      runs.push(run);
      value = bit;
      run = length;
    }
  };
  push(0, x * height);
  for (let column = 0; column < w; column++) {
    push(0, y);
    for (let row = 0; row < h; row++) push(data[row * w + column]!, 1);
    push(0, height - y - h);
  }
  push(0, (width - x - w) * height);
  runs.push(run);
  return { size: [height, width], counts: encodeCounts(runs) };
}

export function area(mask: Mask): number {
  let count = 0;
  for (const bit of mask.data) count += bit;
  return count;
}

/** Whether the pixel at a point of the image is set. */
export function containsPoint(mask: Mask, [px, py]: Point): boolean {
  const column = Math.floor(px) - mask.x;
  const row = Math.floor(py) - mask.y;
  return column >= 0 && row >= 0 && column < mask.w && row < mask.h && mask.data[row * mask.w + column] === 1;
}

/** The box of the window. */
/** Intersection over union of two masks of the same image. */
export function iou(one: Mask, other: Mask): number {
  const [left, top] = [Math.max(one.x, other.x), Math.max(one.y, other.y)];
  const [right, bottom] = [Math.min(one.x + one.w, other.x + other.w), Math.min(one.y + one.h, other.y + other.h)];
  let common = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      common += one.data[(y - one.y) * one.w + x - one.x]! & other.data[(y - other.y) * other.w + x - other.x]!;
    }
  }
  const either = area(one) + area(other) - common;
  return either ? common / either : 0;
}

export const boxOf = (mask: Mask): Box => [mask.x, mask.y, mask.x + mask.w, mask.y + mask.h];

/** A copy of the mask in a window extended by `box`, clipped to the image. */
export function grown(mask: Mask, box: Box): Mask {
  const empty = mask.w === 0 || mask.h === 0;
  const x0 = Math.max(0, Math.floor(empty ? box[0] : Math.min(mask.x, box[0])));
  const y0 = Math.max(0, Math.floor(empty ? box[1] : Math.min(mask.y, box[1])));
  const x1 = Math.min(mask.width, Math.ceil(empty ? box[2] : Math.max(mask.x + mask.w, box[2])));
  const y1 = Math.min(mask.height, Math.ceil(empty ? box[3] : Math.max(mask.y + mask.h, box[3])));
  const w = Math.max(0, x1 - x0);
  const h = Math.max(0, y1 - y0);
  const data = new Uint8Array(w * h);
  for (let row = 0; row < mask.h && w > 0; row++) {
    const source = mask.data.subarray(row * mask.w, (row + 1) * mask.w);
    data.set(source, (row + mask.y - y0) * w + mask.x - x0);
  }
  return { width: mask.width, height: mask.height, x: x0, y: y0, w, h, data };
}

/** The pixels of either mask of one image. */
export function joined(one: Mask, other: Mask): Mask {
  const result = grown(one, boxOf(other));
  for (let row = 0; row < other.h; row++) {
    const start = (row + other.y - result.y) * result.w + other.x - result.x;
    for (let column = 0; column < other.w; column++) {
      if (other.data[row * other.w + column]) result.data[start + column] = 1;
    }
  }
  return trimmed(result);
}

/** A copy of the mask in its smallest window. */
export function trimmed(mask: Mask): Mask {
  let [x0, y0, x1, y1] = [mask.w, mask.h, 0, 0];
  for (let row = 0; row < mask.h; row++) {
    for (let column = 0; column < mask.w; column++) {
      if (!mask.data[row * mask.w + column]) continue;
      x0 = Math.min(x0, column);
      x1 = Math.max(x1, column + 1);
      y0 = Math.min(y0, row);
      y1 = row + 1;
    }
  }
  if (x1 <= x0) return emptyMask(mask.width, mask.height);
  const [w, h] = [x1 - x0, y1 - y0];
  const data = new Uint8Array(w * h);
  for (let row = 0; row < h; row++) {
    data.set(mask.data.subarray((row + y0) * mask.w + x0, (row + y0) * mask.w + x1), row * w);
  }
  return { width: mask.width, height: mask.height, x: mask.x + x0, y: mask.y + y0, w, h, data };
}

/** Paints a line with a round brush, in place and inside the window. The radius is in pixels. */
export function paint(mask: Mask, [ax, ay]: Point, [bx, by]: Point, radius: number, value: 0 | 1): void {
  const r = Math.max(radius, 0.5);
  const x0 = Math.max(mask.x, Math.floor(Math.min(ax, bx) - r));
  const x1 = Math.min(mask.x + mask.w, Math.ceil(Math.max(ax, bx) + r));
  const y0 = Math.max(mask.y, Math.floor(Math.min(ay, by) - r));
  const y1 = Math.min(mask.y + mask.h, Math.ceil(Math.max(ay, by) + r));
  const [dx, dy] = [bx - ax, by - ay];
  const squaredLength = dx * dx + dy * dy;
  for (let row = y0; row < y1; row++) {
    for (let column = x0; column < x1; column++) {
      const [px, py] = [column + 0.5 - ax, row + 0.5 - ay];
      const t = squaredLength > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / squaredLength)) : 0;
      const [ex, ey] = [px - t * dx, py - t * dy];
      if (ex * ex + ey * ey <= r * r) mask.data[(row - mask.y) * mask.w + column - mask.x] = value;
    }
  }
}

/** The border between set and unset pixels as lines along pixel edges, in image coordinates: [x0, y0, x1, y1, …]. */
export function outline(mask: Mask): number[] {
  const { x, y, w, h, data } = mask;
  const lines: number[] = [];
  const at = (column: number, row: number) =>
    column >= 0 && row >= 0 && column < w && row < h ? data[row * w + column]! : 0;
  for (let row = 0; row <= h; row++) {
    let start = -1;
    for (let column = 0; column <= w; column++) {
      const edge = column < w && at(column, row) !== at(column, row - 1);
      if (edge && start < 0) start = column;
      if (!edge && start >= 0) {
        lines.push(x + start, y + row, x + column, y + row);
        start = -1;
      }
    }
  }
  for (let column = 0; column <= w; column++) {
    let start = -1;
    for (let row = 0; row <= h; row++) {
      const edge = row < h && at(column, row) !== at(column - 1, row);
      if (edge && start < 0) start = row;
      if (!edge && start >= 0) {
        lines.push(x + column, y + start, x + column, y + row);
        start = -1;
      }
    }
  }
  return lines;
}
