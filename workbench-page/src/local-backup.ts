/** Unsaved annotations, backed up in localStorage: nothing is lost when a tab closes or the server stops. */

import type { ObjectRecord } from "./types";

export interface Backup {
  revision: number;
  state: "open" | "accepted";
  objects: ObjectRecord[];
}

// the key may not change: a browser may hold work that an older version of the page could not save
const key = (project: string, image: string) => `samtailor/work/${project}/${image}`;

export function writeBackup(project: string, image: string, backup: Backup): void {
  try {
    localStorage.setItem(key(project, image), JSON.stringify(backup));
  } catch {
    // storage is full or denied; the request to the server is still on its way
  }
}

export function deleteBackup(project: string, image: string): void {
  try {
    localStorage.removeItem(key(project, image));
  } catch {
    // storage is denied, so there is no backup
  }
}

/** Null if there is none, or none that can be read. */
export function readBackup(project: string, image: string): Backup | null {
  try {
    const text = localStorage.getItem(key(project, image));
    const backup = text ? (JSON.parse(text) as Backup) : null;
    return backup && Array.isArray(backup.objects) && typeof backup.revision === "number" ? backup : null;
  } catch {
    return null;
  }
}

/** Ids of the images of a project with a backup. */
export function listBackups(project: string): string[] {
  try {
    const prefix = key(project, "");
    return Object.keys(localStorage)
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length));
  } catch {
    return [];
  }
}
