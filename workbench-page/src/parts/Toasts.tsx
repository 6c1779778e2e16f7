/** Short news at the head of the page, where no picture is. */

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
