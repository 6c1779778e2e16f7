/** Characters at the end that are always shown: the number and the extension tell most image files apart. */
const TAIL = 9;

/** A file name on one line. If it does not fit, the ellipsis is in its middle, not at its end. */
export function FileName({ name }: { name: string }) {
  const split = Math.max(0, name.length - TAIL);
  return (
    <span class="file-name">
      <span class="file-name-head">{name.slice(0, split)}</span>
      {name.slice(split)}
    </span>
  );
}
