/**
 * COCO's compressed run lengths, as in pycocotools: column by column, starting with background.
 *
 * Each number is split into groups of five bits, lowest first; bit 5 says whether another group follows, and 48 is
 * added to make it a character. From the fourth run on, the number is the difference to the run two places before.
 */

import type { Rle } from "./types";

/** Decodes run lengths. Throws RangeError if they are invalid or do not fill the image. */
export function decodeCounts({ size: [height, width], counts }: Rle): number[] {
  const runs: number[] = [];
  let at = 0;
  let sum = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      if (at >= counts.length || shift > 30) throw new RangeError("Invalid RLE: it ends in the middle of a number.");
      const code = counts.charCodeAt(at++) - 48;
      if (code < 0 || code > 63) throw new RangeError("Invalid RLE: unexpected character.");
      value |= (code & 31) << shift;
      shift += 5;
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2]!;
    if (value < 0) throw new RangeError("Invalid RLE: negative run length.");
    sum += value;
    runs.push(value);
  }
  if (sum !== height * width) throw new RangeError(`Invalid RLE: the runs cover ${sum} of ${height * width} pixels.`);
  return runs;
}

export function encodeCounts(runs: readonly number[]): string {
  const codes: number[] = [];
  runs.forEach((run, index) => {
    let left = index > 2 ? run - runs[index - 2]! : run;
    for (let more = true; more; ) {
      let code = left & 31;
      left >>= 5;
      more = code & 16 ? left !== -1 : left !== 0;
      if (more) code |= 32;
      codes.push(code + 48);
    }
  });
  let text = "";
  for (let at = 0; at < codes.length; at += 4096) text += String.fromCharCode(...codes.slice(at, at + 4096));
  return text;
}
