/** Characters at the end that are always shown: numbers and extensions tell most names apart. */
const TAIL = 9;

/** A name on one line. If it does not fit, the ellipsis is in its middle. */
export function MiddleEllipsis({ text }: { text: string }) {
  const split = Math.max(0, text.length - TAIL);
  return (
    <span class="middle-ellipsis">
      <span class="middle-ellipsis-head">{text.slice(0, split)}</span>
      {text.slice(split)}
    </span>
  );
}
