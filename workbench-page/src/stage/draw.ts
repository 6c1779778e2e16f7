/** Paints the open picture and all that lies on it. Reads the store; changes nothing. */

import type { Box, Point } from "../contract";
import { type Mask, outline } from "../mask";
import { ringsOf } from "../polygons";
import * as store from "../store";
import { type Size, toScreen } from "../view";
import { drawMap } from "./heat";

const paths = new WeakMap<Mask, Path2D>();
const sprites = new WeakMap<Mask, { colour: string; canvas: HTMLCanvasElement }>();
const OBJECT = "#0b7a43";
const NOT = "#c62828";

export function draw(context: CanvasRenderingContext2D, size: Size, ratio: number): void {
  const image = store.image.value;
  const picture = store.picture.value;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  if (!image || !picture) return;
  const { scale, x, y } = store.view.value;
  context.save();
  context.translate(x, y);
  context.scale(scale, scale);
  context.imageSmoothingEnabled = scale < 4;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, picture.width, picture.height);
  if (store.map.value) drawMap(context, store.map.value, picture);
  drawObjects(context, scale);
  context.restore();
  drawMarks(context);
}

function drawObjects(context: CanvasRenderingContext2D, scale: number): void {
  context.imageSmoothingEnabled = false;
  const [chosen, stroke, hidden] = [store.selectedId.value, store.strokeMask.value, store.hidden.value];
  const opacity = store.opacity.value;
  const heat = store.map.value !== null;
  if (!store.allHidden.value) {
    for (const item of store.items.value) {
      if (hidden.has(item.id) || stroke?.object === item.id) continue;
      const mine = item.id === chosen;
      drawMask(context, item.mask, store.colourOf(item.class), heat ? 0 : opacity * (chosen && !mine ? 0.7 : 1), scale, mine);
    }
  }
  if (stroke) {
    const owner = store.items.value.find((one) => one.id === stroke.object);
    drawMask(context, stroke.mask, store.colourOf(owner?.class ?? store.activeClass.value), opacity, scale, true, true);
  }
  if (store.preview.value) drawMask(context, store.preview.value, store.colourOf(store.activeClass.value), 0.2, scale, false);
}

/** `fresh`: the mask is being painted on, so nothing about it may be remembered. */
function drawMask(
  context: CanvasRenderingContext2D,
  mask: Mask,
  colour: string,
  opacity: number,
  scale: number,
  strong: boolean,
  fresh = false,
): void {
  if (!mask.w || !mask.h) return;
  if (opacity > 0) {
    context.globalAlpha = opacity;
    context.drawImage(fresh ? sprite(mask, colour) : spriteOf(mask, colour), mask.x, mask.y);
    context.globalAlpha = 1;
  }
  if (fresh && mask.w * mask.h > 1_500_000) return; // the outline follows when the stroke ends
  const path = fresh ? pathFor(mask) : pathOf(mask);
  context.lineCap = "square";
  context.lineWidth = (strong ? 4.5 : 3) / scale;
  context.strokeStyle = strong ? "rgba(255,255,255,.95)" : "rgba(0,0,0,.45)";
  context.stroke(path);
  context.lineWidth = (strong ? 2.25 : 1.5) / scale;
  context.strokeStyle = colour;
  context.stroke(path);
}

function pathOf(mask: Mask): Path2D {
  let path = paths.get(mask);
  if (!path) paths.set(mask, (path = pathFor(mask)));
  return path;
}

function pathFor(mask: Mask): Path2D {
  const path = new Path2D();
  const lines = outline(mask);
  for (let at = 0; at < lines.length; at += 4) {
    path.moveTo(lines[at]!, lines[at + 1]!);
    path.lineTo(lines[at + 2]!, lines[at + 3]!);
  }
  return path;
}

export function spriteOf(mask: Mask, colour: string): HTMLCanvasElement {
  const old = sprites.get(mask);
  if (old?.colour === colour) return old.canvas;
  const canvas = sprite(mask, colour);
  sprites.set(mask, { colour, canvas });
  return canvas;
}

function sprite(mask: Mask, colour: string): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [mask.w, mask.h];
  const context = canvas.getContext("2d")!;
  const pixels = context.createImageData(mask.w, mask.h);
  const words = new Uint32Array(pixels.data.buffer);
  const [r, g, b] = rgb(colour);
  const word = (255 << 24) | (b << 16) | (g << 8) | r;
  for (let at = 0; at < words.length; at++) if (mask.data[at]) words[at] = word;
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Of "#rrggbb" or "#rgb"; grey for anything else. */
export function rgb(colour: string): [number, number, number] {
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(colour);
  const hex = short ? `${short[1]}${short[1]}${short[2]}${short[2]}${short[3]}${short[3]}` : colour.slice(1);
  const value = /^[0-9a-f]{6}$/i.test(hex) ? parseInt(hex, 16) : 0x8a8f98;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** What has a size on the screen rather than in the picture: clicks, boxes, corners, cursors. */
function drawMarks(context: CanvasRenderingContext2D): void {
  drawPrompts(context);
  const drag = store.dragBox.value;
  if (drag) drawBox(context, [...drag.from, ...drag.to] as Box, "#fff");
  drawCorners(context);
  drawCursor(context);
}

function drawPrompts(context: CanvasRenderingContext2D): void {
  const asked = store.asking.value;
  const prompts = asked?.prompts ?? store.selected.value?.prompts;
  if (!prompts || store.tool.value !== "smart" || store.allHidden.value) return;
  if (prompts.box && (asked || prompts.points.length === 0)) drawBox(context, prompts.box, "#fff");
  prompts.points.forEach((point, index) => {
    const at = toScreen(store.view.value, point);
    drawClick(context, at, prompts.labels[index] === 1, asked !== null && index === prompts.points.length - 1);
  });
}

function drawClick(context: CanvasRenderingContext2D, [x, y]: Point, positive: boolean, waiting: boolean): void {
  context.beginPath();
  context.arc(x, y, 7, 0, 2 * Math.PI);
  context.fillStyle = positive ? OBJECT : NOT;
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
  if (!waiting) return;
  context.beginPath();
  context.setLineDash([4, 4]);
  context.arc(x, y, 13, 0, 2 * Math.PI);
  context.stroke();
  context.setLineDash([]);
}

function drawBox(context: CanvasRenderingContext2D, [x0, y0, x1, y1]: Box, colour: string): void {
  const [ax, ay] = toScreen(store.view.value, [x0, y0]);
  const [bx, by] = toScreen(store.view.value, [x1, y1]);
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0,0,0,.55)";
  context.strokeRect(ax, ay, bx - ax, by - ay);
  context.lineWidth = 1.5;
  context.strokeStyle = colour;
  context.setLineDash([6, 4]);
  context.strokeRect(ax, ay, bx - ax, by - ay);
  context.setLineDash([]);
}

function drawCorners(context: CanvasRenderingContext2D): void {
  const draft = store.polygonDraft.value;
  if (draft) {
    const open = store.pointer.value ? [...draft, store.pointer.value] : draft;
    drawRing(context, open, false);
    draft.forEach((corner, index) => drawHandle(context, corner, index === 0 && draft.length > 2));
  }
  for (const polygon of store.vertices.value?.polygons ?? []) {
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

function drawHandle(context: CanvasRenderingContext2D, corner: Point, closing: boolean): void {
  const [x, y] = toScreen(store.view.value, corner);
  const reach = closing ? 7 : 4.5;
  context.fillStyle = closing ? OBJECT : "#fff";
  context.strokeStyle = closing ? "#fff" : "rgba(0,0,0,.75)";
  context.lineWidth = 1.5;
  context.beginPath();
  context.rect(x - reach, y - reach, 2 * reach, 2 * reach);
  context.fill();
  context.stroke();
}

function drawCursor(context: CanvasRenderingContext2D): void {
  const tool = store.tool.value;
  const at = store.crosshair.value ?? store.pointer.value;
  if (!at) return;
  const [x, y] = toScreen(store.view.value, at);
  const lines = (width: number, colour: string) => {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  };
  if ((tool === "brush" || tool === "eraser") && !store.panning.value) {
    context.beginPath();
    context.arc(x, y, Math.max((store.brush.value / 2) * store.view.value.scale, 1.5), 0, 2 * Math.PI);
    lines(3, "rgba(0,0,0,.5)");
    lines(1.25, tool === "eraser" ? "#ff8a80" : "#fff");
  }
  if (store.crosshair.value) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      context.moveTo(x + dx * 4, y + dy * 4);
      context.lineTo(x + dx * 18, y + dy * 18);
    }
    lines(4, "rgba(0,0,0,.7)");
    lines(1.75, "#fff");
  }
}

