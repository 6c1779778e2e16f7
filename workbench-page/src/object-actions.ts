/** Changes to the objects of the open image. */

import { commit } from "./editor";
import { type Mask, area, iou, trimmed } from "./mask";
import { fromRecord, maskOf, newId } from "./records";
import * as store from "./store";
import type { AnnotatedObject } from "./store";
import type { ObjectRecord } from "./types";

/** Changes an object, or adds it with the active class; an empty mask deletes it. */
export function putObject(id: string, change: Partial<AnnotatedObject> & { mask: Mask }): void {
  const mask = trimmed(change.mask);
  const current = store.objects.value.find((one) => one.id === id);
  if (area(mask) === 0) {
    if (current) deleteObject(id);
    return;
  }
  const object: AnnotatedObject = { ...(current ?? newObject(id, mask)), ...change, mask };
  const objects = store.objects.value;
  commit(current ? objects.map((one) => (one.id === id ? object : one)) : [...objects, object], id);
}

const newObject = (id: string, mask: Mask): AnnotatedObject => ({
  id,
  class: store.activeClass.value,
  mask,
  source: "click",
  adapter: null,
  score: null,
  uncertainty: null,
  clicks: 0,
  prompts: null,
});

export function deleteObject(id: string): void {
  const objects = store.objects.value;
  if (objects.some((one) => one.id === id)) commit(objects.filter((one) => one.id !== id), null);
}

export function setClass(id: string, name: string): void {
  const object = store.objects.value.find((one) => one.id === id);
  if (!object || object.class === name) return;
  commit(store.objects.value.map((one) => (one.id === id ? { ...one, class: name } : one)));
}

/** Adds objects that were predicted; returns how many. */
export function addObjects(records: readonly ObjectRecord[]): number {
  const ids = new Set(store.objects.value.map((one) => one.id));
  const added = records.map(fromRecord).map((one) => (ids.has(one.id) ? { ...one, id: newId() } : one));
  if (added.length) commit([...store.objects.value, ...added], null);
  return added.length;
}

/** Adds predicted objects, except those that are there already; returns how many were added. */
export function addNewObjects(records: readonly ObjectRecord[]): number {
  const present = store.objects.value;
  return addObjects(
    records.filter((record) => {
      const mask = maskOf(record.rle);
      return !present.some((one) => one.class === record.class && iou(one.mask, mask) >= 0.5);
    }),
  );
}

export function toggleHidden(id: string): void {
  const hidden = new Set(store.hiddenIds.value);
  if (!hidden.delete(id)) hidden.add(id);
  store.hiddenIds.value = hidden;
}

/** Selects the next (or previous) object, wrapping around. */
export function selectNext(offset: 1 | -1): void {
  const objects = store.objects.value;
  if (!objects.length) return;
  const current = objects.findIndex((one) => one.id === store.selectedId.value);
  const start = current < 0 && offset < 0 ? 0 : current;
  store.selectedId.value = objects[(start + offset + objects.length) % objects.length]!.id;
}

/** Makes a class the active one, and the class of the selected object. */
export function chooseClass(name: string): void {
  store.activeClass.value = name;
  if (store.selectedId.value) setClass(store.selectedId.value, name);
}
