/** Characters at the end that are always shown: most names differ in numbers and extensions. */
const TAIL = 9;
/** Names up to this length fit, or nearly. */
const SHORT = 16;

/** A name on one line. If it does not fit, the ellipsis is in its middle. */
export function MiddleEllipsis({ text }: { text: string }) {
  const split = text.length > SHORT ? text.length - TAIL : 0;
  return (
    <span class="middle-ellipsis">
      <span class="middle-ellipsis-head">{text.slice(0, split)}</span>
      {text.slice(split)}
    </span>
  );
}
