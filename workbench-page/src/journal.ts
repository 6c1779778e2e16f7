/** What is not yet on the server's disk, kept in the browser: a closed tab or a stopped server loses nothing. */

import type { ObjectRecord } from "./contract";

export interface Unsaved {
  revision: number;
  state: "open" | "accepted";
  objects: ObjectRecord[];
}

const key = (project: string, id: string) => `samtailor/work/${project}/${id}`;

export function remember(project: string, id: string, unsaved: Unsaved): void {
  try {
    localStorage.setItem(key(project, id), JSON.stringify(unsaved));
  } catch {
    // the browser's room is full or closed to us; the save to the server is still under way
  }
}

export function forget(project: string, id: string): void {
  try {
    localStorage.removeItem(key(project, id));
  } catch {
    // as above
  }
}

/** Null: nothing kept, or nothing that can be read. */
export function recall(project: string, id: string): Unsaved | null {
  try {
    const text = localStorage.getItem(key(project, id));
    const found = text ? (JSON.parse(text) as Unsaved) : null;
    return found && Array.isArray(found.objects) && typeof found.revision === "number" ? found : null;
  } catch {
    return null;
  }
}

/** Ids of the pictures of a project with kept work. */
export function kept(project: string): string[] {
  try {
    const start = key(project, "");
    return Object.keys(localStorage)
      .filter((name) => name.startsWith(start))
      .map((name) => name.slice(start.length));
  } catch {
    return [];
  }
}
