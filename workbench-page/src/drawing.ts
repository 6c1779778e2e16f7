/** Marks made by hand: brush strokes and polygons. */

import { effect } from "@preact/signals";

import * as api from "./api";
import type { Box, Point, Polygon } from "./contract";
import { Latest } from "./latest";
import { type Mask, emptyMask, grown, paint } from "./mask";
import { put } from "./objects";
import { maskOf, newId, rleOf } from "./records";
import * as store from "./store";
import { onLeave } from "./work";

const shapes = new Latest();
const rasters = new Latest();
let last: Point | null = null;

onLeave(() => {
  shapes.drop();
  rasters.drop();
  cancelStroke();
  store.polygonDraft.value = null;
  store.vertices.value = null;
});

// brush

/** Starts a stroke on the selected object, or on a new one. False: there is nothing to erase. */
export function beginStroke(at: Point, erase: boolean): boolean {
  const picture = store.picture.value;
  if (!picture || !store.opened.value) return false;
  const item = store.selected.value;
  if (!item && erase) {
    store.say("Select an object first: the eraser takes away from it.");
    return false;
  }
  if (!item && !store.activeClass.value) {
    store.say("Add a class first (on the right): every object belongs to one.");
    return false;
  }
  const start = item?.mask ?? emptyMask(picture.width, picture.height);
  store.strokeMask.value = { object: item?.id ?? newId(), mask: grown(start, [...at, ...at] as Box), stamp: 0 };
  last = at;
  stroke(at, erase);
  return true;
}

/** Goes on with the stroke. */
export function stroke(at: Point, erase: boolean): void {
  const now = store.strokeMask.value;
  if (!now || !last) return;
  const radius = store.brush.value / 2;
  const reach = radius + 1;
  const box: Box = [
    Math.min(last[0], at[0]) - reach,
    Math.min(last[1], at[1]) - reach,
    Math.max(last[0], at[0]) + reach,
    Math.max(last[1], at[1]) + reach,
  ];
  const mask = erase || within(now.mask, box) ? now.mask : grown(now.mask, ahead(box, 64));
  paint(mask, last, at, radius, erase ? 0 : 1);
  last = at;
  store.strokeMask.value = { object: now.object, mask, stamp: now.stamp + 1 };
}

/** What a model said of its own mask says nothing about one that was changed since. */
const BY_HAND = { score: null, uncertainty: null };

/** The stroke is done and becomes the object's mask. */
export function endStroke(): void {
  const now = store.strokeMask.value;
  store.strokeMask.value = null;
  last = null;
  if (!now) return;
  store.candidates.value = null;
  const before = store.items.value.find((one) => one.id === now.object);
  put(now.object, { ...BY_HAND, mask: now.mask, source: "brush", clicks: (before?.clicks ?? 0) + 1 });
}

export function cancelStroke(): void {
  store.strokeMask.value = null;
  last = null;
}

function within(mask: Mask, box: Box): boolean {
  const { x, y, w, h, width, height } = mask;
  return (
    Math.max(0, box[0]) >= x && Math.max(0, box[1]) >= y && Math.min(width, box[2]) <= x + w && Math.min(height, box[3]) <= y + h
  );
}

/** Some room around, so that a long stroke does not copy the mask at every step. */
const ahead = ([x0, y0, x1, y1]: Box, by: number): Box => [x0 - by, y0 - by, x1 + by, y1 + by];

// polygons

/** One more corner of the polygon that is being drawn. */
export function addCorner(at: Point): void {
  if (!store.activeClass.value && !store.selected.value) {
    return store.say("Add a class first (on the right): every object belongs to one.");
  }
  if (!store.polygonDraft.value) store.selectedId.value = null;
  store.polygonDraft.value = [...(store.polygonDraft.value ?? []), at];
}

export function dropCorner(): void {
  const draft = store.polygonDraft.value;
  store.polygonDraft.value = draft && draft.length > 1 ? draft.slice(0, -1) : null;
}

/** Closes the polygon that is being drawn; it becomes an object. */
export async function closePolygon(): Promise<void> {
  const draft = store.polygonDraft.value;
  if (!draft) return;
  if (draft.length < 3) return store.say("A polygon needs three corners at least.");
  store.polygonDraft.value = null;
  await shape(newId(), [{ outer: draft, holes: [] }], draft.length);
}

/** The edited corners become the object's mask. */
export async function reshape(polygons: Polygon[]): Promise<void> {
  const editing = store.vertices.value;
  if (!editing) return;
  store.vertices.value = { ...editing, polygons };
  await shape(editing.object, polygons, 1);
}

async function shape(object: string, polygons: Polygon[], clicks: number): Promise<void> {
  const id = store.openId.value;
  if (!id) return;
  store.shaping.value += 1;
  try {
    const answer = await rasters.run((signal) => api.rasterise(id, polygons, signal));
    if (!answer) return;
    store.candidates.value = null;
    const old = store.items.value.find((one) => one.id === object);
    const mask = maskOf(answer.rle);
    ownShape = mask;
    put(object, { ...BY_HAND, mask, source: "polygon", clicks: (old?.clicks ?? 0) + clicks });
    if (!old && store.tool.value === "polygon") store.vertices.value = { object, polygons };
  } catch (error) {
    store.complain(error);
  } finally {
    store.shaping.value -= 1;
  }
}

/** The mask that the shown corners stand for: no need to ask for its corners again. */
let ownShape: Mask | null = null;

/** Corners of the selected object, while the polygon tool is chosen. */
effect(() => {
  const [tool, id, item, picture] = [store.tool.value, store.openId.value, store.selected.value, store.picture.peek()];
  if (tool !== "polygon" || !id || !item || !picture) {
    shapes.drop();
    store.vertices.value = null;
    return;
  }
  if (ownShape && rleOf(item.mask).counts === rleOf(ownShape).counts) return;
  const tolerance = Math.max(1, Math.max(item.mask.w, item.mask.h) / 150);
  shapes
    .run((signal) => (void signal, api.toPolygons(id, rleOf(item.mask), tolerance)))
    .then((answer) => {
      if (answer && store.selectedId.value === item.id) store.vertices.value = { object: item.id, polygons: answer.polygons };
    }, store.complain);
});
