/** Between the contract's objects and the page's. */

import type { ObjectRecord, Rle } from "./contract";
import { type Mask, fromRle, toRle } from "./mask";
import type { Item } from "./store";

const packed = new WeakMap<Mask, Rle>();

/** Run lengths of a mask; made once a mask. */
export function rleOf(mask: Mask): Rle {
  let rle = packed.get(mask);
  if (!rle) packed.set(mask, (rle = toRle(mask)));
  return rle;
}

/** A mask that remembers the run lengths it came from. */
export function maskOf(rle: Rle): Mask {
  const mask = fromRle(rle);
  packed.set(mask, rle);
  return mask;
}

export function toItem(record: ObjectRecord): Item {
  const { rle, ...rest } = record;
  return { ...rest, mask: maskOf(rle) };
}

export function toRecord(item: Item): ObjectRecord {
  return {
    id: item.id,
    class: item.class,
    rle: rleOf(item.mask),
    source: item.source,
    adapter: item.adapter,
    score: item.score,
    uncertainty: item.uncertainty,
    clicks: item.clicks,
    prompts: item.prompts,
  };
}

/** Whether two lists of objects say the same (masks, classes; not how they came about). */
export function same(one: readonly ObjectRecord[], other: readonly ObjectRecord[]): boolean {
  const told = (list: readonly ObjectRecord[]) => JSON.stringify(list.map((o) => [o.id, o.class, o.rle.counts, o.clicks]));
  return told(one) === told(other);
}

/** A name for a new object; works without a secure context too (a workbench reached over the local network). */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
