/** Sheets: the objects of a picture that was opened, how they came about, and their way to the server. */

import * as api from "./api";
import type { Annotations } from "./contract";
import { History } from "./history";
import * as journal from "./journal";
import { same, toItem, toRecord } from "./records";
import { type Content, Saver, type SaveState } from "./saver";
import * as store from "./store";
import type { Item } from "./store";

export interface Sheet {
  id: string;
  saver: Saver<Content>;
  history: History<readonly Item[]>;
  state: "open" | "accepted" | "proposed" | "failed";
}

const sheets = new Map<string, Sheet>();
/** By folder: two projects may have one name and, one after the other, one address. */
const projectName = () => store.project.value?.folder ?? store.project.value?.name ?? "";
/** The sheet of the open picture. */
export const current = (): Sheet | undefined => (store.openId.value ? sheets.get(store.openId.value) : undefined);

/** The sheet of a picture, as the server has it, or newer if this browser kept unsaved work. */
export async function load(id: string): Promise<Sheet> {
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
    return forget(sheet);
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

/** Keeps the sheet's work in this browser until it is saved. */
export function remember(sheet: Sheet): void {
  journal.remember(projectName(), sheet.id, { revision: sheet.saver.revision, ...content(sheet) });
}

export const forget = (sheet: Sheet): void => journal.forget(projectName(), sheet.id);

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
  if (state === "saved" && !sheet.saver.unsaved) forget(sheet);
  if (state === "saved") setTimeout(() => !sheet.saver.unsaved && forget(sheet));
  if (state === "conflict") void compareRecords(sheet);
  if (sheet.id === store.openId.value) store.saving.value = { state, message };
  else if (state === "offline" || state === "refused") store.say(message ?? "Not saved.", "bad");
}

/** After a 409: silent where both say the same, else the user decides. */
export async function compareRecords(sheet: Sheet): Promise<void> {
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

export const anythingUnsaved = (): boolean => [...sheets.values()].some((sheet) => sheet.saver.unsaved);

/** The tab goes: what is unsaved leaves with requests that outlive it. */
export const farewell = (): void => sheets.forEach((sheet) => sheet.saver.farewell());

export const retry = (): void => sheets.forEach((sheet) => void (sheet.saver.unsaved && sheet.saver.flush()));
