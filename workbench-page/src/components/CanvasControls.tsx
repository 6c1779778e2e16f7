/** On the canvas, in the strip at its right edge that no fitted image covers: candidate masks and zoom. */

import { turnPage } from "../editor";
import { currentCandidates, cycleCandidate } from "../prompts";
import { fitImage, zoomIn, zoomOut } from "../stage/viewport";
import * as store from "../store";
import { IconButton } from "./IconButton";

export function CanvasControls() {
  return (
    <>
      <CandidateButton />
      <Pager />
      <div class="canvas-control zoom-control group">
        <IconButton icon="plus" label="Zoom in (+)" onClick={zoomIn} />
        <button
          class="ghost zoom"
          title="Fit the image to the window (F)"
          aria-label="Fit the image to the window"
          onClick={() => fitImage()}
        >
          {Math.round(store.view.value.scale * 100)}%
        </button>
        <IconButton icon="minus" label="Zoom out (−)" onClick={zoomOut} />
      </div>
    </>
  );
}

/** Pages of an image stack. */
function Pager() {
  const image = store.openImage.value;
  if (!image || image.pages < 2) return null;
  return (
    <div class="canvas-control pager group" id="pager">
      <IconButton icon="left" label="Previous page of the stack (PageUp)" disabled={image.page <= 1} onClick={() => turnPage(-1)} />
      <span title={`Page ${image.page} of ${image.pages}`}>
        {image.page}/{image.pages}
      </span>
      <IconButton icon="right" label="Next page of the stack (PageDown)" disabled={image.page >= image.pages} onClick={() => turnPage(1)} />
    </div>
  );
}

function CandidateButton() {
  const candidates = currentCandidates();
  if (!candidates || candidates.masks.length < 2) return null;
  const { masks, index } = candidates;
  const { predictedIou, zoomed, cropped } = masks[index]!;
  const whole = !cropped && masks.some((one) => one.cropped);
  const origin = zoomed ? ", from a zoomed tile" : cropped ? ", from what is on the screen" : whole ? ", from the whole image" : "";
  const title = `Next candidate mask (Tab). Predicted IoU ${predictedIou.toFixed(2)}${origin}.`;
  return (
    <button class="canvas-control candidates" id="candidate" title={title} onClick={() => cycleCandidate(1)}>
      Mask
      <b>
        {index + 1}/{masks.length}
      </b>
      <small>{predictedIou.toFixed(2)}</small>
      {(zoomed || cropped) && <small>zoomed</small>}
      {whole && <small>whole</small>}
      <kbd>Tab</kbd>
    </button>
  );
}
