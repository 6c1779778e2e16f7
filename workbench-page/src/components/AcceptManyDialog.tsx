/** Accepts proposed images above a certainty, after a look at them. */

import { useState } from "preact/hooks";

import { acceptMany, sheetUrl } from "../api";
import { openImage, refresh } from "../editor";
import { takeBackAcceptance } from "../jobs";
import * as store from "../store";
import type { ImageInfo } from "../types";
import { counted, formatPercent } from "./format";
import { Icon } from "./Icon";
import { Modal } from "./Modal";

/** Images that are shown at once; the others can be accepted too. */
const SHOWN = 60;
const certainty = (image: ImageInfo) => 1 - (image.uncertainty ?? 1);

export function AcceptManyDialog() {
  const proposed = store.images.value.filter((one) => one.state === "proposed" && one.objects > 0);
  const [least, setLeast] = useState(0.8);
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [shown, setShown] = useState(SHOWN);
  const [done, setDone] = useState<string[] | null>(null);
  const certain = proposed.filter((one) => certainty(one) >= least).sort((a, b) => certainty(a) - certainty(b));
  const chosen = certain.filter((one) => !left.has(one.id));
  const toggle = (id: string) => {
    const next = new Set(left);
    if (!next.delete(id)) next.add(id);
    setLeft(next);
  };
  const accept = async () => {
    try {
      const { accepted, refused } = await acceptMany(chosen.map((one) => one.id));
      setDone(accepted);
      const reasons = Object.values(refused);
      if (reasons.length) store.notify(`${counted(reasons.length, "image")} not accepted: ${reasons[0]}`, "bad");
      await refresh();
    } catch (error) {
      store.notifyError(error);
    }
  };
  const takeBack = async () => {
    await takeBackAcceptance();
    setDone(null);
  };
  return (
    <Modal title="Accept many images" wide>
      <div class="accept-many">
        <label class="slider wide">
          <span>Certainty at least</span>
          <input
            type="range"
            id="certainty"
            min="0"
            max="1"
            step="0.01"
            value={least}
            onInput={(event) => setLeast(Number(event.currentTarget.value))}
          />
          <output>{formatPercent(least)}</output>
        </label>
        <button class="primary" id="accept-chosen" disabled={!chosen.length} onClick={() => void accept()}>
          <Icon name="check" /> Accept {counted(chosen.length, "image")}
        </button>
      </div>
      {done && (
        <p class="result good" role="status">
          Accepted {counted(done.length, "image")}.{" "}
          <button class="link" id="take-back" onClick={() => void takeBack()}>
            Undo
          </button>
        </p>
      )}
      <p class="hint">
        {proposed.length
          ? "The least certain of them come first. Click an image to leave it out, double-click to open it."
          : "No image is proposed. Label the remaining images first."}
      </p>
      <div class="sheet">
        {certain.slice(0, shown).map((one) => (
          <button
            key={one.id}
            class={`tile${left.has(one.id) ? " left" : ""}`}
            aria-pressed={!left.has(one.id)}
            title={`${one.name}: ${counted(one.objects, "object")}, certainty ${formatPercent(certainty(one))}`}
            onClick={() => toggle(one.id)}
            onDblClick={() => {
              store.dialog.value = null;
              void openImage(one.id);
            }}
          >
            <img src={sheetUrl(one.id, `${one.objects}-${one.uncertainty}`)} alt={one.name} loading="lazy" />
            <span>
              {formatPercent(certainty(one))} · {counted(one.objects, "object")}
            </span>
          </button>
        ))}
      </div>
      {certain.length > shown && (
        <button class="plain wide" onClick={() => setShown(shown + SHOWN)}>
          Show more ({certain.length - shown})
        </button>
      )}
    </Modal>
  );
}
