/** Draws the open image and everything on it. Reads the store; changes nothing. */

import { type Mask, outline } from "../mask";
import { ringsOf } from "../polygons";
import * as store from "../store";
import type { Box, Point } from "../types";
import { type Size, toScreen } from "../view";
import { drawIouMap } from "./iou-map";

const paths = new WeakMap<Mask, Path2D>();
const sprites = new WeakMap<Mask, { color: string; canvas: HTMLCanvasElement }>();
const FOREGROUND = "#0b7a43";
const BACKGROUND = "#c62828";

export function draw(context: CanvasRenderingContext2D, size: Size, ratio: number): void {
  const element = store.imageElement.value;
  const image = store.openImage.value;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  if (!element || !image) return;
  const { scale, x, y } = store.view.value;
  context.save();
  context.translate(x, y);
  context.scale(scale, scale);
  context.imageSmoothingEnabled = scale < 4;
  context.imageSmoothingQuality = "high";
  const [brightness, contrast] = [store.brightness.value, store.contrast.value];
  if (brightness !== 1 || contrast !== 1) context.filter = `brightness(${brightness}) contrast(${contrast})`;
  context.drawImage(element, 0, 0, image.width, image.height);
  context.filter = "none";
  if (store.iouMap.value) drawIouMap(context, store.iouMap.value, image);
  drawObjects(context, scale);
  context.restore();
  drawMarks(context);
}

function drawObjects(context: CanvasRenderingContext2D, scale: number): void {
  context.imageSmoothingEnabled = false;
  const [selectedId, stroke, hiddenIds] = [store.selectedId.value, store.stroke.value, store.hiddenIds.value];
  const opacity = store.opacity.value;
  if (!store.masksHidden.value) {
    for (const object of store.objects.value) {
      if (hiddenIds.has(object.id) || stroke?.object === object.id) continue;
      const selected = object.id === selectedId;
      const fill = store.iouMap.value ? 0 : opacity * (selectedId && !selected ? 0.7 : 1);
      drawMask(context, object.mask, store.objectColor(object), fill, scale, selected);
    }
  }
  if (stroke) {
    const object = store.objects.value.find((one) => one.id === stroke.object);
    const color = object ? store.objectColor(object) : store.classColor(store.activeClass.value);
    drawMask(context, stroke.mask, color, opacity, scale, true, true);
  }
  const preview = store.previewMask.value;
  if (preview) drawMask(context, preview, store.classColor(store.activeClass.value), 0.2, scale, false);
}

/** `changing`: the mask is being painted, so nothing about it may be cached. */
function drawMask(
  context: CanvasRenderingContext2D,
  mask: Mask,
  color: string,
  opacity: number,
  scale: number,
  emphasized: boolean,
  changing = false,
): void {
  if (!mask.w || !mask.h) return;
  if (opacity > 0) {
    context.globalAlpha = opacity;
    context.drawImage(changing ? renderSprite(mask, color) : spriteOf(mask, color), mask.x, mask.y);
    context.globalAlpha = 1;
  }
  if (changing && mask.w * mask.h > 1_500_000) return; // tracing a large outline is slow; it follows after the stroke
  const path = changing ? traceOutline(mask) : outlineOf(mask);
  context.lineCap = "square";
  context.lineWidth = (emphasized ? 4.5 : 3) / scale;
  context.strokeStyle = emphasized ? "rgba(255,255,255,.95)" : "rgba(0,0,0,.45)";
  context.stroke(path);
  context.lineWidth = (emphasized ? 2.25 : 1.5) / scale;
  context.strokeStyle = color;
  context.stroke(path);
}

/** The outline of a mask in image coordinates. */
export function outlineOf(mask: Mask): Path2D {
  let path = paths.get(mask);
  if (!path) paths.set(mask, (path = traceOutline(mask)));
  return path;
}

function traceOutline(mask: Mask): Path2D {
  const path = new Path2D();
  const lines = outline(mask);
  for (let at = 0; at < lines.length; at += 4) {
    path.moveTo(lines[at]!, lines[at + 1]!);
    path.lineTo(lines[at + 2]!, lines[at + 3]!);
  }
  return path;
}

/** The mask filled with a color, as large as its window. */
export function spriteOf(mask: Mask, color: string): HTMLCanvasElement {
  const cached = sprites.get(mask);
  if (cached?.color === color) return cached.canvas;
  const canvas = renderSprite(mask, color);
  sprites.set(mask, { color, canvas });
  return canvas;
}

function renderSprite(mask: Mask, color: string): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [mask.w, mask.h];
  const context = canvas.getContext("2d")!;
  const pixels = context.createImageData(mask.w, mask.h);
  const rgba = new Uint32Array(pixels.data.buffer);
  const [r, g, b] = rgb(color);
  const value = (255 << 24) | (b << 16) | (g << 8) | r;
  for (let at = 0; at < rgba.length; at++) if (mask.data[at]) rgba[at] = value;
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Channels of "#rrggbb" or "#rgb"; gray for anything else. */
function rgb(color: string): [number, number, number] {
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(color);
  const hex = short ? `${short[1]}${short[1]}${short[2]}${short[2]}${short[3]}${short[3]}` : color.slice(1);
  const value = /^[0-9a-f]{6}$/i.test(hex) ? parseInt(hex, 16) : 0x8a8f98;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Clicks, boxes, corners and cursors, which have the same size on screen at every zoom. */
function drawMarks(context: CanvasRenderingContext2D): void {
  drawPrompts(context);
  const drag = store.dragBox.value;
  if (drag) drawBox(context, [...drag.from, ...drag.to] as Box, "#fff");
  drawCorners(context);
  drawCursor(context);
}

function drawPrompts(context: CanvasRenderingContext2D): void {
  const pending = store.pendingPrompt.value;
  const prompts = pending?.prompts ?? store.selectedObject.value?.prompts;
  if (!prompts || store.tool.value !== "prompt" || store.masksHidden.value) return;
  if (prompts.box && (pending || prompts.points.length === 0)) drawBox(context, prompts.box, "#fff");
  prompts.points.forEach((point, index) => {
    const at = toScreen(store.view.value, point);
    drawClick(context, at, prompts.labels[index] === 1, pending !== null && index === prompts.points.length - 1);
  });
}

function drawClick(context: CanvasRenderingContext2D, [x, y]: Point, positive: boolean, pending: boolean): void {
  context.beginPath();
  context.arc(x, y, 7, 0, 2 * Math.PI);
  context.fillStyle = positive ? FOREGROUND : BACKGROUND;
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = "#fff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - 3.5, y);
  context.lineTo(x + 3.5, y);
  if (positive) {
    context.moveTo(x, y - 3.5);
    context.lineTo(x, y + 3.5);
  }
  context.stroke();
  if (!pending) return;
  context.beginPath();
  context.setLineDash([4, 4]);
  context.arc(x, y, 13, 0, 2 * Math.PI);
  context.stroke();
  context.setLineDash([]);
}

function drawBox(context: CanvasRenderingContext2D, [x0, y0, x1, y1]: Box, color: string): void {
  const [ax, ay] = toScreen(store.view.value, [x0, y0]);
  const [bx, by] = toScreen(store.view.value, [x1, y1]);
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0,0,0,.55)";
  context.strokeRect(ax, ay, bx - ax, by - ay);
  context.lineWidth = 1.5;
  context.strokeStyle = color;
  context.setLineDash([6, 4]);
  context.strokeRect(ax, ay, bx - ax, by - ay);
  context.setLineDash([]);
}

function drawCorners(context: CanvasRenderingContext2D): void {
  const draft = store.polygonDraft.value;
  if (draft) {
    const ring = store.pointer.value ? [...draft, store.pointer.value] : draft;
    drawRing(context, ring, false);
    draft.forEach((corner, index) => drawHandle(context, corner, index === 0 && draft.length > 2));
  }
  for (const polygon of store.editedPolygons.value?.polygons ?? []) {
    for (const ring of ringsOf(polygon)) {
      drawRing(context, ring, true);
      ring.forEach((corner) => drawHandle(context, corner, false));
    }
  }
}

function drawRing(context: CanvasRenderingContext2D, ring: readonly Point[], closed: boolean): void {
  context.beginPath();
  ring.forEach((corner, index) => {
    const [x, y] = toScreen(store.view.value, corner);
    if (index) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  if (closed) context.closePath();
  context.lineWidth = 3.5;
  context.strokeStyle = "rgba(0,0,0,.5)";
  context.stroke();
  context.lineWidth = 1.5;
  context.strokeStyle = "#fff";
  context.stroke();
}

function drawHandle(context: CanvasRenderingContext2D, corner: Point, closes: boolean): void {
  const [x, y] = toScreen(store.view.value, corner);
  const radius = closes ? 7 : 4.5;
  context.fillStyle = closes ? FOREGROUND : "#fff";
  context.strokeStyle = closes ? "#fff" : "rgba(0,0,0,.75)";
  context.lineWidth = 1.5;
  context.beginPath();
  context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
  context.fill();
  context.stroke();
}

function drawCursor(context: CanvasRenderingContext2D): void {
  const tool = store.tool.value;
  const at = store.crosshair.value ?? store.pointer.value;
  if (!at) return;
  const [x, y] = toScreen(store.view.value, at);
  const strokeLines = (width: number, color: string) => {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke();
  };
  if ((tool === "brush" || tool === "eraser") && !store.panning.value) {
    context.beginPath();
    context.arc(x, y, Math.max((store.brushSize.value / 2) * store.view.value.scale, 1.5), 0, 2 * Math.PI);
    strokeLines(3, "rgba(0,0,0,.5)");
    strokeLines(1.25, tool === "eraser" ? "#ff8a80" : "#fff");
  }
  if (store.crosshair.value) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      context.moveTo(x + dx * 4, y + dy * 4);
      context.lineTo(x + dx * 18, y + dy * 18);
    }
    strokeLines(4, "rgba(0,0,0,.7)");
    strokeLines(1.75, "#fff");
  }
}

