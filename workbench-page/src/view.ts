/** Where the picture lies on the screen: screen = picture * scale + offset, in CSS pixels of the canvas. */

import type { Box, Point } from "./contract";

export interface View {
  scale: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

export const MOST = 40;

export const toScreen = (view: View, [x, y]: Point): Point => [x * view.scale + view.x, y * view.scale + view.y];
export const toPicture = (view: View, [x, y]: Point): Point => [(x - view.x) / view.scale, (y - view.y) / view.scale];

/** The whole picture (or a box of it) in the middle, with a margin. */
export function fitted(picture: Size, canvas: Size, margin = 16, box?: Box): View {
  const [x0, y0, x1, y1] = box ?? [0, 0, picture.width, picture.height];
  const room = Math.max(1, Math.min(canvas.width - 2 * margin, canvas.height - 2 * margin));
  const wide = Math.max(1, canvas.width - 2 * margin) / Math.max(1, x1 - x0);
  const high = Math.max(1, canvas.height - 2 * margin) / Math.max(1, y1 - y0);
  const scale = Math.min(wide, high, Math.max(MOST / 5, room / 512));
  return {
    scale,
    x: canvas.width / 2 - ((x0 + x1) / 2) * scale,
    y: canvas.height / 2 - ((y0 + y1) / 2) * scale,
  };
}

/** Larger or smaller by a factor, the picture's point under `at` staying where it is. */
export function zoomed(view: View, at: Point, factor: number, picture: Size, canvas: Size): View {
  const least = Math.min(fitted(picture, canvas).scale, 1) / 2;
  const scale = Math.min(MOST, Math.max(least, view.scale * factor));
  const [px, py] = toPicture(view, at);
  return within({ scale, x: at[0] - px * scale, y: at[1] - py * scale }, picture, canvas);
}

/** Moved so that some of the picture stays in sight. */
export function within(view: View, picture: Size, canvas: Size): View {
  const keep = 48;
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  return {
    scale: view.scale,
    x: clamp(view.x, keep - picture.width * view.scale, canvas.width - keep),
    y: clamp(view.y, keep - picture.height * view.scale, canvas.height - keep),
  };
}

/** Cut at the picture's edge. */
export const inside = ([x, y]: Point, { width, height }: Size): Point => [
  Math.min(Math.max(x, 0), width - 1e-3),
  Math.min(Math.max(y, 0), height - 1e-3),
];

export const holdsPoint = ([x, y]: Point, { width, height }: Size): boolean => x >= 0 && y >= 0 && x < width && y < height;

/** Left, top, right, bottom of two corners in any order. */
export const boxBetween = ([ax, ay]: Point, [bx, by]: Point): Box => [
  Math.min(ax, bx),
  Math.min(ay, by),
  Math.max(ax, bx),
  Math.max(ay, by),
];
