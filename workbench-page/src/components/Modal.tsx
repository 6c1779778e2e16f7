import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import * as store from "../store";
import { IconButton } from "./IconButton";

interface Props {
  title: string;
  wide?: boolean;
  children: ComponentChildren;
}

/** A modal dialog with a title. Escape, a click outside and the close button close it; the focus returns. */
export function Modal({ title, wide = false, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    // in a layout effect, so that no dialog in the document is closed except one that Escape has just closed:
    // `shortcuts.ts` relies on it
    const previousFocus = document.activeElement;
    dialog.current!.showModal();
    return () => (previousFocus instanceof HTMLElement ? previousFocus.focus({ preventScroll: true }) : undefined);
  }, []);
  const close = () => (store.dialog.value = null);
  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={close}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div class="dialog-head">
        <h2>{title}</h2>
        <IconButton icon="close" label="Close" onClick={close} />
      </div>
      {children}
    </dialog>
  );
}
