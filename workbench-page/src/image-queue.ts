/**
 * Queue order: proposed images by decreasing uncertainty, those of a search by decreasing score, open images by name,
 * then accepted and unreadable ones.
 */

import type { ImageInfo, ImageState } from "./types";

const RANK: Record<ImageState, number> = { proposed: 0, open: 1, accepted: 2, failed: 3 };

export type Filter = "all" | "todo" | ImageState;

export function inQueueOrder(images: readonly ImageInfo[]): ImageInfo[] {
  return [...images].sort(
    (a, b) =>
      RANK[a.state] - RANK[b.state] ||
      (a.state === "proposed" ? proposedOrder(a, b) : 0) ||
      a.name.localeCompare(b.name, undefined, { numeric: true }),
  );
}

function proposedOrder(a: ImageInfo, b: ImageInfo): number {
  if (a.match !== null && b.match !== null) return b.match - a.match;
  if (a.match !== null || b.match !== null) return a.match === null ? -1 : 1;
  return (b.uncertainty ?? 1) - (a.uncertainty ?? 1);
}

/** Proposed images that a search has found something in, the best match first. */
export const searchResults = (images: readonly ImageInfo[]): ImageInfo[] =>
  inQueueOrder(images).filter((one) => one.state === "proposed" && one.match !== null);

/** The page of the same stack that is `offset` pages further; null if there is none. */
export function otherPage(images: readonly ImageInfo[], image: ImageInfo, offset: number): ImageInfo | null {
  const file = fileOf(image);
  return images.find((one) => one.pages > 1 && fileOf(one) === file && one.page === image.page + offset) ?? null;
}

const fileOf = ({ name, page }: ImageInfo): string => (page > 1 ? name.slice(0, name.lastIndexOf("#")) : name);

export const isPending = (image: ImageInfo): boolean => image.state === "proposed" || image.state === "open";

export const matchesFilter = (image: ImageInfo, filter: Filter): boolean =>
  filter === "all" || image.state === filter || (filter === "todo" && isPending(image));

export function filterImages(images: readonly ImageInfo[], filter: Filter, name: string): ImageInfo[] {
  const wanted = name.trim().toLowerCase();
  return images.filter((image) => matchesFilter(image, filter) && image.name.toLowerCase().includes(wanted));
}

/** The folder that all names have in common, with a slash at the end; empty if there is none. */
export function commonFolder(names: readonly string[]): string {
  const first = names[0] ?? "";
  let folder = first.slice(0, first.lastIndexOf("/") + 1);
  while (folder && !names.every((name) => name.startsWith(folder))) {
    folder = folder.slice(0, folder.lastIndexOf("/", folder.length - 2) + 1);
  }
  return folder;
}

/** The next pending image after `id` in the queue, continuing from the start; null if no other is pending. */
export function nextPending(images: readonly ImageInfo[], id: string | null): ImageInfo | null {
  const queue = inQueueOrder(images);
  const index = queue.findIndex((one) => one.id === id);
  const rotated = [...queue.slice(index + 1), ...queue.slice(0, Math.max(index, 0))];
  return rotated.find((one) => isPending(one) && one.id !== id) ?? null;
}
