/** Clicks and boxes become prompts; the masks that the server predicts for them become objects. */

import { computed, effect } from "@preact/signals";

import * as api from "./api";
import { flush, onImageClose } from "./editor";
import { LatestRequest } from "./latest-request";
import { area, boxOf, containsPoint } from "./mask";
import { addObjects, putObject } from "./object-actions";
import { maskOf, newId, rleOf } from "./records";
import * as store from "./store";
import { visibleBox } from "./stage/viewport";
import type { AnnotatedObject } from "./store";
import type { Box, MaskCandidate, Point, Prompts, Refined } from "./types";

const segmentRequest = new LatestRequest();
const compareRequest = new LatestRequest();
const iouMapRequest = new LatestRequest();
const previewRequest = new LatestRequest();

onImageClose(() => {
  for (const request of [segmentRequest, compareRequest, iouMapRequest, previewRequest]) request.cancel();
  store.pendingPrompt.value = null;
  store.candidates.value = new Map();
  store.comparedMasks.value = null;
  store.iouMap.value = null;
  store.previewMask.value = null;
});

/** The smallest visible object at a point, other than `except`. */
export function objectAt(point: Point, except: string | null = null): AnnotatedObject | null {
  const visible = store.objects.value.filter((one) => one.id !== except && !store.hiddenIds.value.has(one.id));
  const hits = visible.filter((one) => containsPoint(one.mask, point));
  return hits.sort((a, b) => area(a.mask) - area(b.mask))[0] ?? null;
}

/**
 * A click: 1 = foreground, 0 = background.
 *
 * It refines the selected object, or with label 0 the one whose mask is there. It starts a new object if none is selected or if each click starts one (`otherMode`
 * inverts that setting for one click). A click on another object selects that object; while no object is selected, only
 * if it has the active class, so that a license plate can be annotated within a car.
 */
export function click(point: Point, label: 0 | 1, otherMode = false): void {
  if (label === 0) return takeOut(point);
  const current = store.pendingPrompt.value?.object ?? store.selectedId.value;
  const hit = otherMode ? null : objectAt(point);
  if (hit && hit.id !== current && (current !== null || hit.class === store.activeClass.value)) {
    store.selectedId.value = hit.id;
    return;
  }
  const startsObject = store.newObjectPerClick.value !== otherMode;
  if (current === null || startsObject) return void segment(newId(), { points: [point], labels: [1], box: null });
  addClick(current, point, 1);
}

/** A click that takes a place out of the mask under it: of the selected object, else of the one at the point. */
function takeOut(point: Point): void {
  const current = store.pendingPrompt.value?.object ?? store.selectedId.value;
  const own = store.objects.value.find((one) => one.id === current);
  const target = own && containsPoint(own.mask, point) ? current : (objectAt(point)?.id ?? current);
  if (target === null) return store.notify("There is no mask here to take something out of.");
  store.selectedId.value = target;
  addClick(target, point, 0);
}

function addClick(object: string, point: Point, label: 0 | 1): void {
  const { points, labels, box } = promptsOf(object);
  void segment(object, { points: [...points, point], labels: [...labels, label], box });
}

/** A box prompt for a new object, or for the selected one. */
export function promptBox(box: Box, forSelected: boolean): void {
  const selected = store.selectedId.value;
  if (forSelected && selected) return void segment(selected, { ...promptsOf(selected), box });
  void segment(newId(), { points: [], labels: [], box });
}

/** The prompts of an object so far; the bounding box stands in where there were none. */
function promptsOf(id: string): Prompts {
  if (store.pendingPrompt.value?.object === id) return store.pendingPrompt.value.prompts;
  const object = store.objects.value.find((one) => one.id === id);
  if (!object) return { points: [], labels: [], box: null };
  if (object.prompts && (object.prompts.points.length || object.prompts.box)) return object.prompts;
  if (object.source === "brush" || object.source === "polygon") {
    store.notify("The model changed a hand-drawn mask. Press Ctrl+Z to restore it.");
  }
  return { points: [], labels: [], box: boxOf(object.mask) };
}

async function segment(object: string, prompts: Prompts): Promise<void> {
  const image = store.openImageId.value;
  if (!image || !store.editable.value || !store.requireClass()) return;
  const adapter = store.activeAdapter.value;
  const own = store.objects.value.find((one) => one.id === object)?.class ?? store.activeClass.value;
  const options = { class: own, zoomFirst: store.zoomFirst.value, view: visibleBox(), refined: refinedBy(object, prompts) };
  store.pendingPrompt.value = { object, prompts };
  store.previewMask.value = null;
  try {
    const candidates = await segmentRequest.run((signal) => api.segment(image, adapter, prompts, options, signal));
    if (!candidates) return;
    store.pendingPrompt.value = null;
    const masks = candidates.filter((one) => one.area > 0); // an empty mask would delete the object
    if (!masks.length) return store.notify("The model found no object there.");
    const sets = [masks, ...(store.candidates.value.get(object) ?? [])].slice(0, MAX_SETS);
    store.candidates.value = new Map([...store.candidates.value, [object, sets]]);
    applyCandidate(object, masks[0]!, prompts, adapter);
  } catch (error) {
    store.pendingPrompt.value = null;
    store.notifyError(error);
  }
}

/** Answers that are kept for each object. */
const MAX_SETS = 30;

/** The mask that clicks refine; null for the first click and for a box. */
function refinedBy(object: string, prompts: Prompts): Refined | null {
  const mask = store.objects.value.find((one) => one.id === object)?.mask;
  if (!mask || !prompts.points.length) return null;
  const rle = rleOf(mask);
  const sets = store.candidates.value.get(object) ?? [];
  return { rle, answer: sets.flat().find((one) => one.rle.counts === rle.counts)?.answer ?? null };
}

/** Gives an object the mask of a candidate. */
function applyCandidate(object: string, candidate: MaskCandidate, prompts: Prompts, adapter: string | null): void {
  putObject(object, {
    mask: maskOf(candidate.rle),
    prompts,
    adapter,
    score: candidate.predictedIou,
    uncertainty: null,
    source: prompts.points.length ? "click" : "box",
    clicks: prompts.points.length + (prompts.box ? 1 : 0),
  });
}

/** The candidates that the selected object's mask is one of; null if the mask was changed since. */
export function currentCandidates(): { masks: readonly MaskCandidate[]; index: number } | null {
  const object = store.selectedObject.value;
  if (!object) return null;
  const { counts } = rleOf(object.mask);
  for (const masks of store.candidates.value.get(object.id) ?? []) {
    const index = masks.findIndex((one) => one.rle.counts === counts);
    if (index >= 0) return { masks, index };
  }
  return null;
}

/** Switches to the next (or previous) candidate mask of the selected object. False if there is none. */
export function cycleCandidate(offset: 1 | -1): boolean {
  const current = currentCandidates();
  const object = store.selectedObject.value;
  if (!current || !object?.prompts || current.masks.length < 2) return false;
  const { masks } = current;
  const next = masks[(current.index + offset + masks.length) % masks.length]!;
  if (masks.some((one) => one.zoomed)) store.zoomFirst.value = next.zoomed;
  applyCandidate(object.id, next, object.prompts, object.adapter);
  return true;
}

/** Deselects the object, so that the next click starts another. */
export function deselect(): void {
  segmentRequest.cancel();
  store.pendingPrompt.value = null;
  store.selectedId.value = null;
}

/** Adds the objects that the active adapter finds on the open image. */
export async function findObjects(): Promise<void> {
  const [image, adapter] = [store.openImageId.value, store.activeAdapter.value];
  if (!image || !adapter) return;
  try {
    const objects = await api.findObjects(image, adapter);
    if (store.openImageId.value !== image) return;
    addObjects(objects);
    const count = objects.length;
    store.notify(count ? `Found ${count} ${count === 1 ? "object" : "objects"}.` : "No objects found in this image.");
  } catch (error) {
    store.notifyError(error);
  }
}

// masks of the base model and every adapter for the selected object, while the comparison is open
effect(() => {
  const object = store.selectedObject.value;
  const image = store.openImageId.value;
  const adapters = [null, ...(store.project.value?.adapters.map((one) => one.name) ?? [])];
  if (!store.compareOn.value || !image || !object) {
    compareRequest.cancel();
    store.comparedMasks.value = null;
    return;
  }
  const prompts = object.prompts ?? { points: [], labels: [], box: boxOf(object.mask) };
  compareRequest
    .run((signal) => api.compare(image, adapters, store.selectedObject.value?.class ?? null, prompts, visibleBox(), signal))
    .then((masks) => {
      if (masks) store.comparedMasks.value = masks;
    }, store.notifyError);
});

/** Gives the selected object one of the compared masks. */
export function applyComparedMask(index: number): void {
  const object = store.selectedObject.value;
  const compared = store.comparedMasks.value?.[index];
  if (!object || !compared) return;
  putObject(object.id, {
    mask: maskOf(compared.rle),
    adapter: compared.adapter,
    score: compared.predictedIou,
    source: object.prompts?.points.length ? "click" : "box",
  });
}

/** Whether the active adapter ignores clicks, so that there is no IoU map of clicks. */
export const promptless = computed(
  () => store.project.value?.adapters.find((one) => one.name === store.activeAdapter.value)?.promptless ?? false,
);

// the IoU map of the selected object, while it is switched on
effect(() => {
  const [on, image, object, adapter] = [
    store.iouMapOn.value,
    store.openImageId.value,
    store.selectedObject.value,
    store.activeAdapter.value,
  ];
  store.iouMap.value = null;
  if (!on || !image || !object || promptless.value) return iouMapRequest.cancel();
  iouMapRequest
    .run(async (signal) => {
      await flush(); // the server reads the object from disk
      return api.iouMap(image, object.id, adapter, signal);
    })
    .then((iouMap) => {
      if (iouMap) store.iouMap.value = iouMap;
    }, store.notifyError);
});

const VIEW_DELAY = 150;

// what is on the screen is encoded as soon as the view rests, so that the next click has its mask at once
effect(() => {
  const [image, adapter, encoding] = [store.openImageId.value, store.activeAdapter.value, store.encoding.value];
  void store.view.value;
  if (!image || encoding || !store.editable.value) return;
  const timer = setTimeout(() => {
    const view = visibleBox();
    if (view && store.openImageId.peek() === image) void api.encode(image, adapter, view).catch(() => undefined);
  }, VIEW_DELAY);
  return () => clearTimeout(timer);
});

const PREVIEW_DELAY = 90;
let previewTimer: ReturnType<typeof setTimeout> | undefined;

/** Previews the mask of a click at the pointer, once the pointer rests and no prompt is pending. */
export function previewAt(point: Point | null): void {
  clearTimeout(previewTimer);
  store.previewMask.value = null;
  const image = store.openImageId.value;
  if (!point || !image || !store.previewOn.value || store.tool.value !== "prompt" || store.encoding.value) {
    return previewRequest.cancel();
  }
  previewTimer = setTimeout(() => {
    if (store.pendingPrompt.value || !store.activeClass.value) return;
    const prompts = { points: [point], labels: [1], box: null };
    const options = { class: store.activeClass.value, zoomFirst: store.zoomFirst.value, view: visibleBox(), refined: null };
    previewRequest
      .run((signal) => api.segment(image, store.activeAdapter.value, prompts, options, signal))
      .then(
        (candidates) => {
          if (candidates?.[0]) store.previewMask.value = maskOf(candidates[0].rle);
        },
        () => undefined, // a missing preview is not worth a message
      );
  }, PREVIEW_DELAY);
}
