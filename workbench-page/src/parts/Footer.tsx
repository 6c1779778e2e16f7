/** Under the canvas: what a click does now, the way through the pictures, Accept. */

import * as store from "../store";
import { accept, reopen, step } from "../work";
import { Icon } from "./icons";
import { STATES } from "./wording";

export function Footer() {
  const picture = store.picture.value;
  const state = store.state.value;
  const list = store.shown.value;
  const at = list.findIndex((one) => one.id === store.openId.value);
  return (
    <footer class="footer">
      <p class="hint" aria-live="polite">
        {hint()}
      </p>
      <div class="nav">
        <button class="ghost" aria-label="Picture before (,)" title="Picture before (,)" disabled={at <= 0} onClick={() => step(-1)}>
          <Icon name="left" />
        </button>
        <span class="where" title={picture?.name}>
          <b>{picture?.name ?? ""}</b>
          <small>
            {at >= 0 ? `${at + 1} of ${list.length} · ` : ""}
            <span id="state">{STATES[state]}</span>
          </small>
        </span>
        <button class="ghost" aria-label="Next picture (.)" title="Next picture (.)" disabled={at < 0 || at >= list.length - 1} onClick={() => step(1)}>
          <Icon name="right" />
        </button>
        {state === "accepted" && (
          <button class="plain" title="Take the acceptance back" onClick={reopen}>
            Reopen
          </button>
        )}
        <button class="primary" id="accept" disabled={!store.opened.value} onClick={accept}>
          <Icon name="check" /> {state === "accepted" ? "Next" : "Accept"} <kbd>Enter</kbd>
        </button>
      </div>
    </footer>
  );
}

const touch = matchMedia("(pointer: coarse)");

function hint(): string {
  const [tool, item] = [store.tool.value, store.selected.value];
  const not = touch.matches ? "Long press" : "Right click";
  if (tool === "brush") return item ? "Paint on the selected object. Right button erases." : "Paint a new object. Select one first to mend it.";
  if (tool === "eraser") return item ? "Rub out. Right button paints." : "Select an object to rub out from.";
  if (tool === "select") return "Click selects an object, drag moves the picture.";
  if (tool === "polygon" && store.polygonDraft.value) return "Click adds a corner; the first corner, a double click or Enter closes.";
  if (tool === "polygon" && store.vertices.value) return `Drag corners or edges. ${not} on a corner removes it.`;
  if (tool === "polygon") return "Click corner after corner.";
  if (store.onePerClick.value) return `Click: new object. Shift+click: more of this one. ${not}: not. Drag: box.`;
  if (item) return `Click: more of it. ${not}: not. N: next object. Drag: new box.`;
  return "Click on an object, or drag a box around it.";
}
