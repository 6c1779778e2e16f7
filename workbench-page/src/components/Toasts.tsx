/** Short messages at the top of the page, where they cover no image. */

import { dismiss, toasts } from "../store";

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((one) => (
        <button key={one.id} class={`toast ${one.kind}`} title="Dismiss" onClick={() => dismiss(one.id)}>
          {one.text}
        </button>
      ))}
    </div>
  );
}
