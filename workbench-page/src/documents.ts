/** Annotation documents: the objects of an image that was opened, their undo history, and their way to the server. */

import * as api from "./api";
import { Autosave, type SaveState } from "./autosave";
import type { AnnotationsBody } from "./contract";
import { History } from "./history";
import { deleteBackup, listBackups, readBackup, writeBackup } from "./local-backup";
import { fromRecord, sameRecords, toRecord } from "./records";
import * as store from "./store";
import type { AnnotatedObject } from "./store";
import type { Annotations, ImageState } from "./types";

type Content = Omit<AnnotationsBody, "revision">;

export interface AnnotationDocument {
  imageId: string;
  autosave: Autosave<Content>;
  history: History<readonly AnnotatedObject[]>;
  state: ImageState;
}

const documents = new Map<string, AnnotationDocument>();

/** Backups are filed by folder, as two projects may share a name and, one after the other, an address. */
const projectKey = () => store.project.value?.folder ?? store.project.value?.name ?? "";

export const openDocument = (): AnnotationDocument | undefined =>
  store.openImageId.value ? documents.get(store.openImageId.value) : undefined;

/** The document of an image: the server's version, or the local one if it has unsaved changes. */
export async function loadDocument(imageId: string): Promise<AnnotationDocument> {
  const known = documents.get(imageId);
  if (known?.autosave.unsaved) return known;
  const record = await api.getAnnotations(imageId);
  if (known && known.autosave.revision === record.revision) {
    known.state = record.state;
    return known;
  }
  const document = createDocument(imageId, record);
  documents.set(imageId, document);
  restoreBackup(document, record);
  return document;
}

function createDocument(imageId: string, record: Annotations): AnnotationDocument {
  const document: AnnotationDocument = {
    imageId,
    state: record.state,
    history: new History<readonly AnnotatedObject[]>(record.objects.map(fromRecord)),
    autosave: new Autosave<Content>(record.revision, {
      content: () => contentOf(document),
      put: (body, keepalive) => api.putAnnotations(imageId, body, keepalive),
      onState: (state, message) => handleSaveState(document, state, message),
    }),
  };
  return document;
}

/** The server decides between open and proposed; the page only whether an image is accepted. */
const savedState = (state: ImageState) => (state === "accepted" ? "accepted" : "open");

const contentOf = (document: AnnotationDocument): Content => ({
  state: savedState(document.state),
  objects: document.history.value.map(toRecord),
});

function restoreBackup(document: AnnotationDocument, record: Annotations): void {
  const backup = readBackup(projectKey(), document.imageId);
  if (!backup) return;
  if (sameRecords(backup.objects, record.objects) && backup.state === savedState(record.state)) {
    return discardBackup(document);
  }
  document.history.push(backup.objects.map(fromRecord));
  document.state = backup.state;
  if (backup.revision === record.revision) {
    document.autosave.markChanged();
    store.notify("Unsaved changes were restored.", "good");
  } else {
    document.autosave.revision = backup.revision; // outdated, so the save ends in a conflict and the user decides
    document.autosave.markChanged();
  }
}

/** Keeps the document in this browser until it is saved. */
export function backUp(document: AnnotationDocument): void {
  writeBackup(projectKey(), document.imageId, { revision: document.autosave.revision, ...contentOf(document) });
}

export const discardBackup = (document: AnnotationDocument): void => deleteBackup(projectKey(), document.imageId);

/** Saves backups of closed tabs, except of images that have changed on the server since. */
export async function saveBackups(): Promise<void> {
  for (const imageId of listBackups(projectKey())) {
    const backup = readBackup(projectKey(), imageId);
    if (!backup || imageId === store.openImageId.value || documents.has(imageId)) continue;
    const record = await api.getAnnotations(imageId).catch(() => null);
    if (!record || record.revision !== backup.revision || documents.has(imageId)) continue;
    await api.putAnnotations(imageId, backup).then(
      () => deleteBackup(projectKey(), imageId),
      () => undefined, // the backup stays until the image is opened
    );
  }
}

function handleSaveState(document: AnnotationDocument, state: SaveState, message: string | null): void {
  if (state === "saved" && !document.autosave.unsaved) discardBackup(document);
  if (state === "saved") setTimeout(() => !document.autosave.unsaved && discardBackup(document));
  if (state === "conflict") void checkConflict(document);
  if (document.imageId === store.openImageId.value) store.saveStatus.value = { state, message };
  else if (state === "offline" || state === "rejected") store.notify(message ?? "Your changes could not be saved.", "bad");
}

/** After a 409: resolved silently if both versions are the same, else by the user. */
export async function checkConflict(document: AnnotationDocument): Promise<void> {
  const record = await api.getAnnotations(document.imageId).catch(() => null);
  if (!record) return;
  const local = contentOf(document);
  if (sameRecords(record.objects, local.objects) && savedState(record.state) === local.state) {
    return document.autosave.resolveConflict(record.revision, false);
  }
  if (document.imageId === store.openImageId.value) store.dialog.value = "conflict";
  else store.notify("An image was changed in another tab. Open it again to choose which version to keep.", "bad");
}

export const hasUnsavedChanges = (): boolean => [...documents.values()].some((one) => one.autosave.unsaved);

export const saveAllOnExit = (): void => documents.forEach((one) => one.autosave.saveOnExit());

export const retrySaving = (): void => documents.forEach((one) => void (one.autosave.unsaved && one.autosave.flush()));
