/**
 * COCO's compressed run lengths (column by column, first run is background), as pycocotools writes them.
 *
 * Each count is written in groups of five bits, lowest first, bit 5 = more follows, offset 48; from the third count on
 * the difference to the count two before is written, so that numbers stay short.
 */

import type { Rle } from "./contract";

/** The run lengths behind the text. Throws RangeError if they do not fill the picture. */
export function decodeCounts({ size: [height, width], counts }: Rle): number[] {
  const runs: number[] = [];
  let at = 0;
  let sum = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      if (at >= counts.length || shift > 30) throw new RangeError("Run lengths end in the middle of a number.");
      const code = counts.charCodeAt(at++) - 48;
      if (code < 0 || code > 63) throw new RangeError("Run lengths hold a character that is none of theirs.");
      value |= (code & 31) << shift;
      shift += 5;
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2]!;
    if (value < 0) throw new RangeError("Run lengths hold a negative run.");
    sum += value;
    runs.push(value);
  }
  if (sum !== height * width) throw new RangeError(`Run lengths cover ${sum} pixels of ${height * width}.`);
  return runs;
}

/** Text of run lengths. */
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
