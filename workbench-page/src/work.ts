/** The open picture: opening, changing, undoing, accepting. Every change goes through `commit`. */

import { batch, effect } from "@preact/signals";

import * as api from "./api";
import * as queue from "./queue";
import { toItem } from "./records";
import { compareRecords, current, forget, load, remember, type Sheet } from "./sheets";
import * as store from "./store";
import type { Item } from "./store";

const leaving = new Set<() => void>();
let opening = 0;

/** Called when the open picture changes, to drop what belongs to it. */
export function onLeave(what: () => void): void {
  leaving.add(what);
}

/** Opens a picture: its image, its annotations; has it and then the next one encoded. */
export async function open(id: string): Promise<void> {
  if (store.openId.value === id && store.opened.value) return;
  void current()?.saver.flush();
  const mine = ++opening;
  leaving.forEach((drop) => drop());
  batch(() => {
    store.openId.value = id;
    store.opened.value = false;
    store.image.value = null;
    store.items.value = [];
    store.selectedId.value = null;
    store.conflict.value = null;
    store.hidden.value = new Set();
    store.state.value = store.picture.value?.state ?? "open";
    store.saving.value = { state: "saved", message: null };
  });
  location.hash = id;
  if (store.picture.value?.error) return; // shown in place of the picture
  encodeAhead(id, mine);
  try {
    const [picture, record] = await Promise.all([loadImage(id), load(id)]);
    if (mine !== opening) return;
    batch(() => {
      store.image.value = picture;
      store.opened.value = true;
      show(record);
    });
  } catch (error) {
    if (mine === opening) store.complain(error);
  }
}

function encodeAhead(id: string, mine: number): void {
  store.encoding.value = true;
  api
    .encode(id)
    .catch((error: unknown) => {
      if (mine === opening && !(error instanceof api.Refusal && error.status === 503)) store.complain(error);
    })
    .finally(() => {
      if (mine !== opening) return;
      store.encoding.value = false;
      const following = queue.next(store.pictures.value, id);
      if (following) {
        new Image().src = api.imageUrl(following.id);
        void api.encode(following.id).catch(() => undefined); // only a head start
      }
    });
}

async function loadImage(id: string): Promise<HTMLImageElement> {
  const picture = new Image();
  picture.src = api.imageUrl(id);
  try {
    await picture.decode();
  } catch {
    throw new Error("The picture could not be shown. It may be broken, or the server is away.");
  }
  return picture;
}

/** Ends a conflict: mine over theirs, or theirs over mine. */
export async function settle(keepMine: boolean): Promise<void> {
  const sheet = current();
  if (!sheet) return;
  const record = await api.getAnnotations(sheet.id);
  if (!keepMine) {
    sheet.history.push(record.objects.map(toItem));
    sheet.state = record.state;
    forget(sheet);
  }
  sheet.saver.settle(record.revision, keepMine);
  store.conflict.value = null;
  store.dialog.value = null;
  show(sheet);
}

/** Reads the open picture anew if the server's copy moved on and nothing here is unsaved. */
export async function refresh(): Promise<void> {
  const sheet = current();
  if (!sheet || sheet.saver.unsaved || !store.opened.value) return;
  const record = await api.getAnnotations(sheet.id).catch(() => null);
  if (!record || sheet.saver.unsaved || record.revision <= sheet.saver.revision) return;
  sheet.saver.revision = record.revision;
  sheet.state = record.state;
  sheet.history.push(record.objects.map(toItem));
  if (sheet.id === store.openId.value) show(sheet);
}

function show(sheet: Sheet): void {
  batch(() => {
    store.items.value = sheet.history.value;
    store.state.value = sheet.state;
    store.canUndo.value = sheet.history.canUndo;
    store.canRedo.value = sheet.history.canRedo;
    store.saving.value = { state: sheet.saver.state, message: null };
    if (!sheet.history.value.some((one) => one.id === store.selectedId.value)) store.selectedId.value = null;
    if (sheet.saver.state === "conflict") void compareRecords(sheet);
  });
}

/** The next list of objects; one step of undo. */
export function commit(next: readonly Item[], select?: string | null): void {
  const sheet = current();
  if (!sheet || !store.opened.value) return;
  sheet.history.push(next);
  if (sheet.state !== "accepted") sheet.state = "open";
  if (select !== undefined) store.selectedId.value = select;
  changed(sheet);
}

function changed(sheet: Sheet): void {
  show(sheet);
  row(sheet);
  remember(sheet);
  sheet.saver.changed();
}

/** The list's row says at once what was done. */
function row(sheet: Sheet): void {
  store.pictures.value = store.pictures.value.map((one) =>
    one.id === sheet.id ? { ...one, state: sheet.state, objects: sheet.history.value.length } : one,
  );
}

export function undo(): void {
  const sheet = current();
  if (sheet?.history.undo()) changed(sheet);
}

export function redo(): void {
  const sheet = current();
  if (sheet?.history.redo()) changed(sheet);
}

let emptyAsked: string | null = null;

/** Accepts the open picture and goes on to the next that waits; a mask that is still under way is waited for. */
export function accept(): void {
  const sheet = current();
  if (!sheet || !store.opened.value) return;
  if (store.awaiting.value) return whenAnswered(() => store.openId.value === sheet.id && accept());
  if (!sheet.history.value.length && emptyAsked !== sheet.id) {
    emptyAsked = sheet.id;
    return store.say("No object is marked here. Accept once more to say that there is none.");
  }
  emptyAsked = null;
  const following = queue.next(store.pictures.value, sheet.id);
  sheet.state = "accepted";
  changed(sheet);
  void sheet.saver.flush();
  if (following) void open(following.id);
  else store.say("That was the last picture in the queue.", "good");
}

let waiting: (() => void) | undefined;

/** Once the answer has been taken; of several waits the last counts. */
function whenAnswered(then: () => void): void {
  waiting?.();
  waiting = effect(() => {
    if (store.awaiting.value) return;
    setTimeout(() => {
      waiting?.();
      waiting = undefined;
      then();
    });
  });
}

/** An accepted picture is work again. */
export function reopen(): void {
  const sheet = current();
  if (!sheet) return;
  sheet.state = "open";
  changed(sheet);
}

/** The picture `by` places further in the list as it is shown. */
export function step(by: number): void {
  const list = store.shown.value;
  if (!list.length) return;
  const at = list.findIndex((one) => one.id === store.openId.value);
  const to = at < 0 ? 0 : Math.min(Math.max(at + by, 0), list.length - 1);
  void open(list[to]!.id);
}

/** Everything on disk before something reads it there. */
export const flush = async (): Promise<void> => current()?.saver.flush();
