/** The open picture: opening, changing, undoing, saving, accepting. Every change goes through `commit`. */

import { batch, effect } from "@preact/signals";

import * as api from "./api";
import type { Annotations, ObjectRecord } from "./contract";
import { History } from "./history";
import * as journal from "./journal";
import * as queue from "./queue";
import { same, toItem, toRecord } from "./records";
import { type Content, Saver, type SaveState } from "./saver";
import * as store from "./store";
import type { Item } from "./store";

interface Sheet {
  id: string;
  saver: Saver<Content>;
  history: History<readonly Item[]>;
  state: "open" | "accepted" | "proposed" | "failed";
}

const sheets = new Map<string, Sheet>();
const leaving = new Set<() => void>();
let opening = 0;

/** Called when the open picture changes, to drop what belongs to it. */
export function onLeave(what: () => void): void {
  leaving.add(what);
}

/** By folder: two projects may have one name and, one after the other, one address. */
const projectName = () => store.project.value?.folder ?? store.project.value?.name ?? "";
const current = () => (store.openId.value ? sheets.get(store.openId.value) : undefined);

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

/** The sheet of a picture, as the server has it, or newer if this browser kept unsaved work. */
async function load(id: string): Promise<Sheet> {
  const known = sheets.get(id);
  if (known?.saver.unsaved) return known;
  const record = await api.getAnnotations(id);
  if (known && known.saver.revision === record.revision) {
    known.state = record.state;
    return known;
  }
  const sheet = made(id, record);
  sheets.set(id, sheet);
  recover(sheet, record);
  return sheet;
}

function made(id: string, record: Annotations): Sheet {
  const sheet: Sheet = {
    id,
    state: record.state,
    history: new History<readonly Item[]>(record.objects.map(toItem)),
    saver: new Saver<Content>(record.revision, {
      content: () => content(sheet),
      put: (body, keepalive) => api.putAnnotations(id, body as Parameters<typeof api.putAnnotations>[1], keepalive),
      told: (state, message) => told(sheet, state, message),
    }),
  };
  return sheet;
}

const content = (sheet: Sheet) => ({
  state: sheet.state === "accepted" ? ("accepted" as const) : ("open" as const),
  objects: sheet.history.value.map(toRecord),
});

function recover(sheet: Sheet, record: Annotations): void {
  const unsaved = journal.recall(projectName(), sheet.id);
  if (!unsaved) return;
  if (same(unsaved.objects, record.objects) && unsaved.state === (record.state === "accepted" ? "accepted" : "open")) {
    return journal.forget(projectName(), sheet.id);
  }
  sheet.history.push(unsaved.objects.map(toItem));
  sheet.state = unsaved.state;
  if (unsaved.revision === record.revision) {
    sheet.saver.changed();
    store.say("Work that was not saved yet has been brought back.", "good");
  } else {
    sheet.saver.revision = unsaved.revision; // older than the server's: the save is refused and the user asked
    sheet.saver.changed();
  }
}

/** Saves what closed tabs left behind on pictures that nobody changed since. */
export async function saveLeftBehind(): Promise<void> {
  for (const id of journal.kept(projectName())) {
    const unsaved = journal.recall(projectName(), id);
    if (!unsaved || id === store.openId.value || sheets.has(id)) continue;
    const record = await api.getAnnotations(id).catch(() => null);
    if (!record || record.revision !== unsaved.revision || sheets.has(id)) continue;
    await api.putAnnotations(id, unsaved).then(
      () => journal.forget(projectName(), id),
      () => undefined, // kept; asked again when the picture is opened
    );
  }
}

function told(sheet: Sheet, state: SaveState, message: string | null): void {
  if (state === "saved" && !sheet.saver.unsaved) journal.forget(projectName(), sheet.id);
  if (state === "saved") setTimeout(() => !sheet.saver.unsaved && journal.forget(projectName(), sheet.id));
  if (state === "conflict") void compareRecords(sheet);
  if (sheet.id === store.openId.value) store.saving.value = { state, message };
  else if (state === "offline" || state === "refused") store.say(message ?? "Not saved.", "bad");
}

/** After a 409: silent where both say the same, else the user decides. */
async function compareRecords(sheet: Sheet): Promise<void> {
  const record = await api.getAnnotations(sheet.id).catch(() => null);
  if (!record) return;
  const mine = content(sheet);
  if (same(record.objects, mine.objects) && (record.state === "accepted") === (mine.state === "accepted")) {
    return sheet.saver.settle(record.revision, false);
  }
  if (sheet.id === store.openId.value) {
    store.conflict.value = sheet.id;
    store.dialog.value = "conflict";
  } else store.say("A picture was changed elsewhere while you worked on it. Open it again to choose.", "bad");
}

/** Ends a conflict: mine over theirs, or theirs over mine. */
export async function settle(keepMine: boolean): Promise<void> {
  const sheet = current();
  if (!sheet) return;
  const record = await api.getAnnotations(sheet.id);
  if (!keepMine) {
    sheet.history.push(record.objects.map(toItem));
    sheet.state = record.state;
    journal.forget(projectName(), sheet.id);
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
  journal.remember(projectName(), sheet.id, { revision: sheet.saver.revision, ...content(sheet) });
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

export const anythingUnsaved = (): boolean => [...sheets.values()].some((sheet) => sheet.saver.unsaved);

/** The tab goes: what is unsaved leaves with requests that outlive it. */
export const farewell = (): void => sheets.forEach((sheet) => sheet.saver.farewell());

export const retry = (): void => sheets.forEach((sheet) => void (sheet.saver.unsaved && sheet.saver.flush()));

export type { ObjectRecord };
