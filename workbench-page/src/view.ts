/** The view transform: screen = image * scale + offset, in CSS pixels of the canvas. */

import type { Box, Point } from "./types";

export interface View {
  scale: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

const MAX_SCALE = 40;

export const toScreen = (view: View, [x, y]: Point): Point => [x * view.scale + view.x, y * view.scale + view.y];
export const toImage = (view: View, [x, y]: Point): Point => [(x - view.x) / view.scale, (y - view.y) / view.scale];

/** Centers the image, or a box of it, with a margin. */
export function fitView(image: Size, canvas: Size, margin = 16, box?: Box): View {
  const [x0, y0, x1, y1] = box ?? [0, 0, image.width, image.height];
  const room = Math.max(1, Math.min(canvas.width - 2 * margin, canvas.height - 2 * margin));
  const scaleX = Math.max(1, canvas.width - 2 * margin) / Math.max(1, x1 - x0);
  const scaleY = Math.max(1, canvas.height - 2 * margin) / Math.max(1, y1 - y0);
  const scale = Math.min(scaleX, scaleY, Math.max(MAX_SCALE / 5, room / 512));
  return {
    scale,
    x: canvas.width / 2 - ((x0 + x1) / 2) * scale,
    y: canvas.height / 2 - ((y0 + y1) / 2) * scale,
  };
}

/** Zooms by a factor; the image point under `anchor` stays in place. */
export function zoomView(view: View, anchor: Point, factor: number, image: Size, canvas: Size): View {
  const minScale = Math.min(fitView(image, canvas).scale, 1) / 2;
  const scale = Math.min(MAX_SCALE, Math.max(minScale, view.scale * factor));
  const [x, y] = toImage(view, anchor);
  return keepVisible({ scale, x: anchor[0] - x * scale, y: anchor[1] - y * scale }, image, canvas);
}

/** Moves the view so that at least an edge of the image stays on screen. */
export function keepVisible(view: View, image: Size, canvas: Size): View {
  const edge = 48;
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  return {
    scale: view.scale,
    x: clamp(view.x, edge - image.width * view.scale, canvas.width - edge),
    y: clamp(view.y, edge - image.height * view.scale, canvas.height - edge),
  };
}

export const clampToImage = ([x, y]: Point, { width, height }: Size): Point => [
  Math.min(Math.max(x, 0), width - 1e-3),
  Math.min(Math.max(y, 0), height - 1e-3),
];

export const inImage = ([x, y]: Point, { width, height }: Size): boolean => x >= 0 && y >= 0 && x < width && y < height;

/** The box between two opposite corners. */
export const boxBetween = ([ax, ay]: Point, [bx, by]: Point): Box => [
  Math.min(ax, bx),
  Math.min(ay, by),
  Math.max(ax, bx),
  Math.max(ay, by),
];
