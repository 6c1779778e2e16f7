/** On the canvas, in the strip at its right that `fit` leaves free: the model's other masks, and the zoom. */

import { candidateIndex, cycleCandidate } from "../prompting";
import { fit, zoom } from "../stage/sight";
import * as store from "../store";
import { Do } from "./Do";

export function Corners() {
  return (
    <>
      <Candidates />
      <div class="corner zooms group">
        <Do icon="plus" name="Zoom in (+)" run={() => zoom(1.3)} />
        <button class="ghost zoom" title="Show the whole picture (F)" aria-label="Show the whole picture" onClick={() => fit()}>
          {Math.round(store.view.value.scale * 100)}%
        </button>
        <Do icon="minus" name="Zoom out (−)" run={() => zoom(1 / 1.3)} />
      </div>
    </>
  );
}

function Candidates() {
  const chosen = store.candidates.value;
  const index = candidateIndex();
  if (!chosen || index < 0 || chosen.masks.length < 2) return null;
  const { predicted_iou, closer } = chosen.masks[index]!;
  const score = `${predicted_iou.toFixed(2)}${closer ? ", closer look" : ""}`;
  return (
    <button class="corner candidates" id="candidate" title="The model’s other masks for these clicks (Tab)" onClick={() => cycleCandidate(1)}>
      Mask
      <b>
        {index + 1}/{chosen.masks.length}
      </b>
      <small title="Predicted IoU">{score}</small>
      <kbd>Tab</kbd>
    </button>
  );
}
