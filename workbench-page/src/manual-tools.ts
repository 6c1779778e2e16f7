/** Masks drawn by hand: brush strokes and polygons. */

import { effect } from "@preact/signals";

import * as api from "./api";
import { onImageClose } from "./editor";
import { LatestRequest } from "./latest-request";
import { type Mask, emptyMask, grown, paint } from "./mask";
import { putObject } from "./object-actions";
import { maskOf, newId, rleOf, sameMask } from "./records";
import * as store from "./store";
import type { Box, Point, Polygon } from "./types";

const toPolygonsRequest = new LatestRequest();
const rasterizeRequest = new LatestRequest();

onImageClose(() => {
  toPolygonsRequest.cancel();
  rasterizeRequest.cancel();
  cancelStroke();
  store.polygonDraft.value = null;
  store.editedPolygons.value = null;
});

// brush and eraser

let lastPoint: Point | null = null;

/** Starts a stroke on the selected object, or on a new one. False if that is not possible. */
export function beginStroke(point: Point, erase: boolean): boolean {
  const image = store.openImage.value;
  if (!image || !store.editable.value) return false;
  const object = store.selectedObject.value;
  if (!object && erase) {
    store.notify("Select an object to erase from.");
    return false;
  }
  if (!object && !store.requireClass()) return false;
  const initial = object?.mask ?? emptyMask(image.width, image.height);
  const mask = grown(initial, [...point, ...point] as Box);
  store.stroke.value = { object: object?.id ?? newId(), mask, version: 0 };
  lastPoint = point;
  continueStroke(point, erase);
  return true;
}

/** Room around a stroke, so that a long stroke does not copy the mask at every step. */
const PADDING = 64;

export function continueStroke(point: Point, erase: boolean): void {
  const stroke = store.stroke.value;
  if (!stroke || !lastPoint) return;
  const radius = store.brushSize.value / 2;
  const around = (by: number): Box => [
    Math.min(lastPoint![0], point[0]) - by,
    Math.min(lastPoint![1], point[1]) - by,
    Math.max(lastPoint![0], point[0]) + by,
    Math.max(lastPoint![1], point[1]) + by,
  ];
  const fits = erase || windowHolds(stroke.mask, around(radius + 1));
  const mask = fits ? stroke.mask : grown(stroke.mask, around(radius + 1 + PADDING));
  paint(mask, lastPoint, point, radius, erase ? 0 : 1);
  lastPoint = point;
  store.stroke.value = { object: stroke.object, mask, version: stroke.version + 1 };
}

/** A model's score says nothing about a mask that was edited since. */
const NO_SCORE = { score: null, uncertainty: null };

/** Gives the object the painted mask. */
export function endStroke(): void {
  const stroke = store.stroke.value;
  cancelStroke();
  if (!stroke) return;
  const clicks = store.objects.value.find((one) => one.id === stroke.object)?.clicks ?? 0;
  putObject(stroke.object, { ...NO_SCORE, mask: stroke.mask, source: "brush", clicks: clicks + 1 });
}

export function cancelStroke(): void {
  store.stroke.value = null;
  lastPoint = null;
}

/** Whether the mask's window covers a box, as far as the box lies in the image. */
function windowHolds({ x, y, w, h, width, height }: Mask, [x0, y0, x1, y1]: Box): boolean {
  return Math.max(0, x0) >= x && Math.max(0, y0) >= y && Math.min(width, x1) <= x + w && Math.min(height, y1) <= y + h;
}

// polygons

export function addCorner(point: Point): void {
  if (!store.selectedObject.value && !store.requireClass()) return;
  if (!store.polygonDraft.value) store.selectedId.value = null;
  store.polygonDraft.value = [...(store.polygonDraft.value ?? []), point];
}

export function removeLastCorner(): void {
  const draft = store.polygonDraft.value;
  store.polygonDraft.value = draft && draft.length > 1 ? draft.slice(0, -1) : null;
}

/** Closes the polygon that is being drawn and makes it an object. */
export async function closePolygon(): Promise<void> {
  const draft = store.polygonDraft.value;
  if (!draft) return;
  if (draft.length < 3) return store.notify("A polygon needs at least three points.");
  store.polygonDraft.value = null;
  await putPolygons(newId(), [{ outer: draft, holes: [] }], draft.length);
}

/** Gives the object the mask of its edited polygons. */
export async function applyPolygons(polygons: Polygon[]): Promise<void> {
  const edited = store.editedPolygons.value;
  if (!edited) return;
  store.editedPolygons.value = { ...edited, polygons };
  await putPolygons(edited.object, polygons, 1);
}

async function putPolygons(object: string, polygons: Polygon[], clicks: number): Promise<void> {
  const image = store.openImageId.value;
  if (!image) return;
  store.pendingPolygons.value += 1;
  try {
    const rle = await rasterizeRequest.run((signal) => api.rasterize(image, polygons, signal));
    if (!rle) return;
    const current = store.objects.value.find((one) => one.id === object);
    const mask = maskOf(rle);
    lastRasterized = mask;
    putObject(object, { ...NO_SCORE, mask, source: "polygon", clicks: (current?.clicks ?? 0) + clicks });
    if (!current && store.tool.value === "polygon") store.editedPolygons.value = { object, polygons };
  } catch (error) {
    store.notifyError(error);
  } finally {
    store.pendingPolygons.value -= 1;
  }
}

/** The mask of the polygons on screen. They are kept: converting it back would move their corners. */
let lastRasterized: Mask | null = null;

// polygons of the selected object, while the polygon tool is active
effect(() => {
  const [tool, image, object] = [store.tool.value, store.openImageId.value, store.selectedObject.value];
  if (tool !== "polygon" || !image || !object) {
    toPolygonsRequest.cancel();
    store.editedPolygons.value = null;
    return;
  }
  if (lastRasterized && sameMask(object.mask, lastRasterized)) return;
  const tolerance = Math.max(1, Math.max(object.mask.w, object.mask.h) / 150);
  toPolygonsRequest
    .run(() => api.toPolygons(image, rleOf(object.mask), tolerance))
    .then((polygons) => {
      if (polygons && store.selectedId.value === object.id) store.editedPolygons.value = { object: object.id, polygons };
    }, store.notifyError);
});
