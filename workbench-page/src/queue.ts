/** The order of work: proposed pictures by falling uncertainty, then open ones by name, then what is done or broken. */

import type { Picture, PictureState } from "./contract";

const RANK: Record<PictureState, number> = { proposed: 0, open: 1, accepted: 2, failed: 3 };

export type Filter = "all" | "todo" | PictureState;

export function ordered(pictures: readonly Picture[]): Picture[] {
  return [...pictures].sort(
    (a, b) =>
      RANK[a.state] - RANK[b.state] ||
      (a.state === "proposed" ? (b.uncertainty ?? 1) - (a.uncertainty ?? 1) : 0) ||
      a.name.localeCompare(b.name, undefined, { numeric: true }),
  );
}

export function filtered(pictures: readonly Picture[], filter: Filter, text: string): Picture[] {
  const wanted = text.trim().toLowerCase();
  return pictures.filter(
    (one) =>
      (filter === "all" || one.state === filter || (filter === "todo" && waiting(one))) &&
      (!wanted || one.name.toLowerCase().includes(wanted)),
  );
}

const waiting = (one: Picture) => one.state === "proposed" || one.state === "open";

/** The next picture to work on after `id`, round the end; null if nothing else waits. */
export function next(pictures: readonly Picture[], id: string | null): Picture | null {
  const queue = ordered(pictures);
  const at = queue.findIndex((one) => one.id === id);
  const after = [...queue.slice(at + 1), ...queue.slice(0, Math.max(at, 0))];
  return after.find((one) => waiting(one) && one.id !== id) ?? null;
}
