/** Conversion between stored records and objects with decoded masks. */

import { type Mask, fromRle, toRle } from "./mask";
import type { AnnotatedObject } from "./store";
import type { ObjectRecord, Rle } from "./types";

const encoded = new WeakMap<Mask, Rle>();

/** Run lengths of a mask, encoded once for each mask. */
export function rleOf(mask: Mask): Rle {
  let rle = encoded.get(mask);
  if (!rle) encoded.set(mask, (rle = toRle(mask)));
  return rle;
}

/** The mask of run lengths; `rleOf` returns the same run lengths again. */
export function maskOf(rle: Rle): Mask {
  const mask = fromRle(rle);
  encoded.set(mask, rle);
  return mask;
}

export const sameMask = (one: Mask, other: Mask): boolean => rleOf(one).counts === rleOf(other).counts;

export function fromRecord(record: ObjectRecord): AnnotatedObject {
  const { rle, ...rest } = record;
  return { ...rest, mask: maskOf(rle) };
}

/** Field by field: the server rejects records with unknown fields. */
export function toRecord(object: AnnotatedObject): ObjectRecord {
  return {
    id: object.id,
    class: object.class,
    rle: rleOf(object.mask),
    source: object.source,
    adapter: object.adapter,
    score: object.score,
    uncertainty: object.uncertainty,
    clicks: object.clicks,
    prompts: object.prompts,
  };
}

/** Whether two lists have the same objects, classes and masks; scores and prompts may differ. */
export function sameRecords(one: readonly ObjectRecord[], other: readonly ObjectRecord[]): boolean {
  const key = (list: readonly ObjectRecord[]) => JSON.stringify(list.map((o) => [o.id, o.class, o.rle.counts, o.clicks]));
  return key(one) === key(other);
}

/** A random object id. `crypto.randomUUID` needs a secure context, which plain HTTP over a local network is not. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
