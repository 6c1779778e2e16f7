import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import * as store from "../store";
import { Icon } from "./icons";

/** A modal with a heading; Escape and the cross close it, and the focus goes back to where it was. */
export function Modal({ title, wide = false, children }: { title: string; wide?: boolean; children: ComponentChildren }) {
  const box = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    // at once: a dialog that is there and not open is one that Escape has closed, and keys are the page's again
    const before = document.activeElement;
    box.current!.showModal();
    return () => (before instanceof HTMLElement ? before.focus({ preventScroll: true }) : undefined);
  }, []);
  const close = () => (store.dialog.value = null);
  return (
    <dialog
      ref={box}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={close}
      onClick={(event) => event.target === box.current && close()}
    >
      <div class="head">
        <h2>{title}</h2>
        <button class="ghost" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </div>
      {children}
    </dialog>
  );
}
