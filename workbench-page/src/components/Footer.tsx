/** Below the canvas: what a click does, the open image, and Accept. */

import { accept, next, previous, reopen } from "../editor";
import * as store from "../store";
import { stateLabel } from "./format";
import { Icon } from "./Icon";
import { IconButton } from "./IconButton";
import { MiddleEllipsis } from "./MiddleEllipsis";

export function Footer() {
  const image = store.openImage.value;
  const state = store.imageState.value;
  const images = store.visibleImages.value;
  const { back, forward } = store.visited.value;
  const index = images.findIndex((one) => one.id === store.openImageId.value);
  return (
    <footer class="footer">
      <p class="hint" aria-live="polite">
        {hint()}
      </p>
      <div class="nav">
        <IconButton icon="left" label="Back to the image seen before (,)" disabled={index <= 0 && !back.length} onClick={previous} />
        <span class="current-image" title={image?.name}>
          <b>
            <MiddleEllipsis text={image ? store.shownName(image) : ""} />
          </b>
          <small>
            {index >= 0 ? `${index + 1} of ${images.length} · ` : ""}
            <span id="state">{stateLabel(state, store.objects.value.length)}</span>
          </small>
        </span>
        <IconButton
          icon="right"
          label="Next image (.)"
          disabled={(index < 0 || index >= images.length - 1) && !forward.length}
          onClick={next}
        />
        {state === "accepted" && (
          <button class="plain" title="Mark this image as not accepted" onClick={reopen}>
            Reopen
          </button>
        )}
        <button class="primary" id="accept" disabled={!store.editable.value || image?.error != null} onClick={accept}>
          <Icon name="check" /> {state === "accepted" ? "Next" : "Accept"} <kbd>Enter</kbd>
        </button>
      </div>
    </footer>
  );
}

const touch = matchMedia("(pointer: coarse)");

/** What the active tool does now. */
function hint(): string {
  const selected = store.selectedId.value !== null;
  const rightClick = touch.matches ? "long-press" : "right-click";
  const remove = touch.matches ? "Long-press" : "Right-click";
  switch (store.tool.value) {
    case "brush":
      return selected ? "Drag to paint, right-drag to erase." : "Drag to paint a new object, or select one to edit it.";
    case "eraser":
      return selected ? "Drag to erase, right-drag to paint." : "Select an object to erase from.";
    case "select":
      return "Click to select an object, drag to pan.";
    case "polygon":
      if (store.polygonDraft.value) return "Click to add a point. Press Enter or click the first point to finish.";
      if (store.editedPolygons.value) return `Drag a point to move it, or an edge to add one. ${remove} a point to remove it.`;
      return "Click to place the first point.";
    case "prompt":
      if (store.newObjectPerClick.value) {
        return `Click an object, or drag a box. Shift+click to add to the selected one, ${rightClick} to remove.`;
      }
      if (selected) return `Click to add, ${rightClick} to remove. Press N for a new object.`;
      return "Click an object, or drag a box around it.";
  }
}
