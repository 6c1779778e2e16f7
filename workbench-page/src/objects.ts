/** What can be done to the objects of the open picture. */

import type { ObjectRecord } from "./contract";
import { type Mask, area, trimmed } from "./mask";
import { newId, toItem } from "./records";
import * as store from "./store";
import type { Item } from "./store";
import { commit } from "./work";

/** The object with that id, or a new one of the active class, changed; goes to the end of the list if new. */
export function put(id: string, change: Partial<Item> & { mask: Mask }): void {
  const mask = trimmed(change.mask);
  const old = store.items.value.find((one) => one.id === id);
  if (area(mask) === 0) {
    if (old) remove(id);
    return;
  }
  const item: Item = { ...(old ?? blank(id, mask)), ...change, mask };
  commit(old ? store.items.value.map((one) => (one.id === id ? item : one)) : [...store.items.value, item], id);
}

function blank(id: string, mask: Mask): Item {
  const name = store.activeClass.value;
  return {
    id,
    class: name,
    mask,
    source: "click",
    adapter: null,
    score: null,
    uncertainty: null,
    clicks: 0,
    prompts: null,
  };
}

export function remove(id: string): void {
  if (!store.items.value.some((one) => one.id === id)) return;
  commit(
    store.items.value.filter((one) => one.id !== id),
    null,
  );
}

export function setClass(id: string, name: string): void {
  const old = store.items.value.find((one) => one.id === id);
  if (!old || old.class === name) return;
  commit(store.items.value.map((one) => (one.id === id ? { ...one, class: name } : one)));
}

/** Objects found without prompts, beside those that are there. */
export function add(records: readonly ObjectRecord[]): void {
  const taken = new Set(store.items.value.map((one) => one.id));
  const found = records.map(toItem).map((one) => (taken.has(one.id) ? { ...one, id: newId() } : one));
  if (found.length) commit([...store.items.value, ...found], null);
}

export function toggleHidden(id: string): void {
  const next = new Set(store.hidden.value);
  if (!next.delete(id)) next.add(id);
  store.hidden.value = next;
}

/** The next object of the list, round the end. */
export function cycle(by: number): void {
  const list = store.items.value;
  if (!list.length) return;
  const at = list.findIndex((one) => one.id === store.selectedId.value);
  const to = at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length;
  store.selectedId.value = list[to]!.id;
}

/** Makes a class the active one; a selected object takes it. */
export function chooseClass(name: string): void {
  store.activeClass.value = name;
  if (store.selectedId.value) setClass(store.selectedId.value, name);
}
