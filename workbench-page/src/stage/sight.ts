/** What part of the picture is in sight. */

import { signal } from "@preact/signals";

import type { Box, Point } from "../contract";
import * as store from "../store";
import { type Size, fitted, within, zoomed } from "../view";

/** Of the canvas, CSS pixels. */
export const canvasSize = signal<Size>({ width: 1, height: 1 });
/** Whether the whole picture is shown, so that it is fitted anew when the canvas changes. */
let whole = true;

const picture = () => store.picture.peek();

/** Of the canvas at its right edge: the buttons there must not cover what is to be clicked on. */
const BUTTONS = 50;

export function fit(box?: Box): void {
  const now = picture();
  if (!now) return;
  whole = box === undefined;
  const { width, height } = canvasSize.peek();
  store.view.value = fitted(now, { width: width - BUTTONS, height }, box ? 60 : 16, box);
}

export function move(dx: number, dy: number): void {
  const now = picture();
  if (!now) return;
  whole = false;
  const view = store.view.peek();
  store.view.value = within({ ...view, x: view.x + dx, y: view.y + dy }, now, canvasSize.peek());
}

export function zoomAt(at: Point, factor: number): void {
  const now = picture();
  if (!now) return;
  whole = false;
  store.view.value = zoomed(store.view.peek(), at, factor, now, canvasSize.peek());
}

/** About the middle of the canvas. */
export const zoom = (factor: number): void =>
  zoomAt([canvasSize.peek().width / 2, canvasSize.peek().height / 2], factor);

export function resized(size: Size): void {
  canvasSize.value = size;
  if (whole) fit();
}
