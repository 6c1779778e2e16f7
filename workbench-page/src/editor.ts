/** The open image: opening, changing, undoing, accepting. Every change of objects goes through `commit`. */

import { batch, effect } from "@preact/signals";

import * as api from "./api";
import { type AnnotationDocument, backUp, checkConflict, discardBackup, loadDocument, openDocument } from "./documents";
import { nextPending, otherPage } from "./image-queue";
import { fromRecord } from "./records";
import * as store from "./store";
import type { AnnotatedObject } from "./store";
import type { ImageState } from "./types";

const closeHandlers = new Set<() => void>();
/** Number of images opened so far; a slow opening compares it to notice that the user has opened another image. */
let openings = 0;

/** Registers what must be reset when another image is opened. */
export function onImageClose(handler: () => void): void {
  closeHandlers.add(handler);
}

/** Loads an image and its annotations, and encodes it and the next image in the queue. */
export async function openImage(id: string): Promise<void> {
  if (store.openImageId.value === id && (store.editable.value || loading === id)) return;
  const from = store.openImageId.value;
  if (from && from !== id) store.visited.value = { back: [...store.visited.value.back, from].slice(-200), forward: [] };
  await load(id);
}

/** The image that is being loaded: setting `location.hash` asks for it a second time. */
let loading: string | null = null;

async function load(id: string): Promise<void> {
  loading = id;
  void openDocument()?.autosave.flush();
  const opening = ++openings;
  closeHandlers.forEach((handler) => handler());
  batch(() => {
    store.openImageId.value = id;
    store.editable.value = false;
    store.imageElement.value = null;
    store.objects.value = [];
    store.selectedId.value = null;
    store.hiddenIds.value = new Set();
    store.imageState.value = store.openImage.value?.state ?? "open";
    store.saveStatus.value = { state: "saved", message: null };
  });
  location.hash = id;
  if (store.openImage.value?.error) {
    loading = null;
    return; // the canvas shows the error
  }
  encodeAhead(id, opening);
  try {
    const [element, document] = await Promise.all([loadImage(id), loadDocument(id)]);
    if (opening !== openings) return;
    batch(() => {
      store.imageElement.value = element;
      store.editable.value = true;
      const accepted = lastAcceptance();
      if (accepted?.next === id) accepted.depth ??= document.history.depth;
      show(document);
    });
  } catch (error) {
    if (opening === openings) store.notifyError(error);
  } finally {
    if (opening === openings) loading = null;
  }
}

function encodeAhead(id: string, opening: number): void {
  store.encoding.value = true;
  api
    .encode(id)
    .catch((error: unknown) => {
      const busy = error instanceof api.ServerError && error.status === 503;
      if (opening === openings && !busy) store.notifyError(error);
    })
    .finally(() => {
      if (opening !== openings) return;
      store.encoding.value = false;
      const next = nextPending(store.images.value, id);
      if (next) {
        new Image().src = api.imageUrl(next.id);
        void api.encode(next.id).catch(() => undefined); // the image is encoded when it is opened, if not now
      }
    });
}

async function loadImage(id: string): Promise<HTMLImageElement> {
  const element = new Image();
  element.src = api.imageUrl(id);
  try {
    await element.decode();
  } catch {
    throw new Error("The image could not be loaded. The file may be damaged, or the server may have stopped.");
  }
  return element;
}

/** Ends a save conflict with the local version or the server's. */
export async function resolveConflict(keepLocal: boolean): Promise<void> {
  const document = openDocument();
  if (!document) return;
  const record = await api.getAnnotations(document.imageId);
  if (!keepLocal) {
    document.history.push(record.objects.map(fromRecord));
    document.state = record.state;
    discardBackup(document);
  }
  document.autosave.resolveConflict(record.revision, keepLocal);
  store.dialog.value = null;
  show(document);
}

/** Reloads the open image if the server has a newer revision and nothing is unsaved here. */
export async function refresh(): Promise<void> {
  const document = openDocument();
  if (!document || document.autosave.unsaved || !store.editable.value) return;
  const record = await api.getAnnotations(document.imageId).catch(() => null);
  if (!record || document.autosave.unsaved || record.revision <= document.autosave.revision) return;
  document.autosave.revision = record.revision;
  document.state = record.state;
  document.history.push(record.objects.map(fromRecord));
  if (document.imageId === store.openImageId.value) show(document);
}

function show(document: AnnotationDocument): void {
  const { history, autosave } = document;
  batch(() => {
    store.objects.value = history.value;
    store.imageState.value = document.state;
    store.canUndo.value = history.canUndo || lastAcceptance() !== null;
    store.canRedo.value = history.canRedo;
    store.saveStatus.value = { state: autosave.state, message: null };
    if (!history.value.some((one) => one.id === store.selectedId.value)) store.selectedId.value = null;
    if (autosave.state === "conflict") void checkConflict(document);
  });
}

/** Makes a list of objects the current one, as one step of undo. */
export function commit(objects: readonly AnnotatedObject[], selectedId?: string | null): void {
  const document = openDocument();
  if (!document || !store.editable.value) return;
  document.history.push(objects);
  if (document.state !== "accepted") document.state = "open";
  if (selectedId !== undefined) store.selectedId.value = selectedId;
  applyChange(document);
}

function applyChange(document: AnnotationDocument): void {
  show(document);
  updateListRow(document);
  backUp(document);
  document.autosave.markChanged();
}

/** Shows the change in the image list before the server confirms it. */
function updateListRow({ imageId, state, history }: AnnotationDocument): void {
  store.images.value = store.images.value.map((one) =>
    one.id === imageId ? { ...one, state, objects: history.value.length } : one,
  );
}

/** An image that was accepted, the image that was opened then, and the depth of the latter's history. */
interface Acceptance {
  imageId: string;
  before: ImageState;
  next: string;
  depth: number | null;
}
const acceptances: Acceptance[] = [];
const lastAcceptance = (): Acceptance | null => acceptances[acceptances.length - 1] ?? null;

/** Undoes the last change of the open image; if there is none since an image was accepted, the acceptance. */
export function undo(): void {
  const document = openDocument();
  if (!document || !store.editable.value) return;
  const accepted = lastAcceptance();
  const since = accepted?.next === document.imageId ? (accepted.depth ?? 0) : 0;
  const before = document.history.value;
  if (document.history.depth > since && document.history.undo()) {
    applyChange(document);
    selectChanged(before, document.history.value);
  } else if (accepted) void undoAcceptance(accepted);
}

async function undoAcceptance({ imageId, before }: Acceptance): Promise<void> {
  acceptances.pop();
  if (store.openImageId.value !== imageId) await openImage(imageId);
  const document = openDocument();
  if (document?.imageId !== imageId || !store.editable.value) return;
  document.state = before;
  applyChange(document);
  store.notify("The image is no longer accepted.");
}

export function redo(): void {
  const document = openDocument();
  const before = document?.history.value ?? [];
  if (!document?.history.redo()) return;
  applyChange(document);
  selectChanged(before, document.history.value);
}

/** Selects the object that undo or redo has changed or brought back, if it is one. */
function selectChanged(before: readonly AnnotatedObject[], after: readonly AnnotatedObject[]): void {
  const changed = after.filter((one) => !before.includes(one));
  if (changed.length === 1) store.selectedId.value = changed[0]!.id;
}

/** The image without objects for which a confirmation was shown. */
let confirmEmpty: string | null = null;

/** Accepts the open image and opens the next pending one; first waits for a mask that is still being computed. */
export function accept(): void {
  const document = openDocument();
  if (!document || !store.editable.value || store.openImage.value?.error) return;
  const { imageId, history, autosave } = document;
  if (store.maskPending.value) return whenMaskArrived(() => store.openImageId.value === imageId && accept());
  if (!history.value.length && confirmEmpty !== imageId) {
    confirmEmpty = imageId;
    return store.notify("This image has no objects. Accept again to confirm that it is empty.");
  }
  confirmEmpty = null;
  const next = nextPending(store.images.value, imageId);
  const before = document.state;
  document.state = "accepted";
  if (before !== "accepted") acceptances.push({ imageId, before, next: next?.id ?? imageId, depth: next ? null : history.depth });
  applyChange(document);
  void autosave.flush();
  if (next) void openImage(next.id);
  else store.notify("All images are done.", "good");
}

let stopWaiting: (() => void) | undefined;

/** Runs an action once no mask is pending; a later call replaces an earlier one. */
function whenMaskArrived(action: () => void): void {
  stopWaiting?.();
  stopWaiting = effect(() => {
    if (store.maskPending.value) return;
    setTimeout(() => {
      stopWaiting?.();
      stopWaiting = undefined;
      action();
    });
  });
}

export function reopen(): void {
  const document = openDocument();
  if (!document) return;
  document.state = "open";
  applyChange(document);
}

/** Opens the image seen before the open one; if there is none, the one above it in the visible list. */
export function previous(): void {
  const { back, forward } = store.visited.value;
  const known = new Set(store.images.value.map((one) => one.id));
  const seen = back.filter((id) => known.has(id));
  const last = seen[seen.length - 1];
  const open = store.openImageId.value;
  if (last === undefined || open === null) return step(-1);
  store.visited.value = { back: seen.slice(0, -1), forward: [...forward, open] };
  void load(last);
}

/** Opens the image that `previous` came from; if there is none, the one below the open image in the visible list. */
export function next(): void {
  const { back, forward } = store.visited.value;
  const last = forward[forward.length - 1];
  const open = store.openImageId.value;
  if (last === undefined || open === null) return step(1);
  store.visited.value = { back: [...back, open], forward: forward.slice(0, -1) };
  void load(last);
}

/** Opens the image `offset` rows further down the visible list. */
function step(offset: number): void {
  const images = store.visibleImages.value;
  if (!images.length) return;
  const current = images.findIndex((one) => one.id === store.openImageId.value);
  const index = current < 0 ? 0 : Math.min(Math.max(current + offset, 0), images.length - 1);
  void openImage(images[index]!.id);
}

/** Opens another page of the stack that the open image belongs to. */
export function turnPage(offset: 1 | -1): void {
  const image = store.openImage.value;
  const page = image && otherPage(store.images.value, image, offset);
  if (page) void openImage(page.id);
}

/** Saves the open image now; resolves when it is on disk. */
export const flush = async (): Promise<void> => openDocument()?.autosave.flush();
