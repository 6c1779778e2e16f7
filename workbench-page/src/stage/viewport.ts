/** Moving and zooming the view of the open image. */

import { signal } from "@preact/signals";

import * as store from "../store";
import type { Box, Point } from "../types";
import { type Size, fitView, keepVisible, toImage, zoomView } from "../view";

/** In CSS pixels. */
export const canvasSize = signal<Size>({ width: 1, height: 1 });
/** Whether the whole image is shown, so that it is fitted again when the canvas changes size. */
let wholeImage = true;

/** Width of the strip at the right edge for the canvas controls, which must not cover the image. */
const CONTROLS_WIDTH = 50;

/** Fits a box of the image, or all of it, into the canvas. */
export function fitImage(box?: Box): void {
  const image = store.openImage.peek();
  if (!image) return;
  wholeImage = box === undefined;
  const { width, height } = canvasSize.peek();
  store.view.value = fitView(image, { width: width - CONTROLS_WIDTH, height }, box ? 60 : 16, box);
}

/** The part of the image that is on the screen, in pixels of the image; null if there is no image. */
export function visibleBox(): Box | null {
  const image = store.openImage.peek();
  if (!image) return null;
  const { width, height } = canvasSize.peek();
  const [x0, y0] = toImage(store.view.peek(), [0, 0]);
  const [x1, y1] = toImage(store.view.peek(), [width, height]);
  const box: Box = [Math.max(0, x0), Math.max(0, y0), Math.min(image.width, x1), Math.min(image.height, y1)];
  return box[2] > box[0] && box[3] > box[1] ? box : null;
}

export function pan(dx: number, dy: number): void {
  const image = store.openImage.peek();
  if (!image) return;
  wholeImage = false;
  const view = store.view.peek();
  store.view.value = keepVisible({ ...view, x: view.x + dx, y: view.y + dy }, image, canvasSize.peek());
}

export function zoomAt(anchor: Point, factor: number): void {
  const image = store.openImage.peek();
  if (!image) return;
  wholeImage = false;
  store.view.value = zoomView(store.view.peek(), anchor, factor, image, canvasSize.peek());
}

const ZOOM_STEP = 1.3;
const zoomAtCenter = (factor: number) => zoomAt([canvasSize.peek().width / 2, canvasSize.peek().height / 2], factor);
export const zoomIn = (): void => zoomAtCenter(ZOOM_STEP);
export const zoomOut = (): void => zoomAtCenter(1 / ZOOM_STEP);

export function resizeCanvas(size: Size): void {
  canvasSize.value = size;
  if (wholeImage) fitImage();
}
