/** Under the canvas, when switched on: base and adapters on the present prompt and one embedding, side by side. */

import { boxOf } from "../mask";
import { takeCompared } from "../prompting";
import { maskOf } from "../records";
import * as store from "../store";
import { Crop, around } from "./Crop";
import { Icon } from "./icons";

const byHand = (item: store.Item) => item.source === "brush" || item.source === "polygon";

export function Compare() {
  if (!store.comparing.value) return null;
  const [answers, item, image, picture] = [store.comparison.value, store.selected.value, store.image.value, store.picture.value];
  const masks = (answers ?? []).map((one) => maskOf(one.mask.rle));
  const frame = picture && around([...masks.map(boxOf), ...(item ? [boxOf(item.mask)] : [])], picture.width, picture.height);
  return (
    <section class="compare" aria-label="Side by side">
      <div class="sides">
        {answers && item && picture && frame ? (
          answers.map((one, index) => (
            <button
              key={one.adapter ?? ""}
              class={`side${!byHand(item) && item.adapter === one.adapter ? " mine" : ""}`}
              title="Take this mask"
              onClick={() => takeCompared(index)}
            >
              <Crop image={image} mask={masks[index]!} colour={store.colourOf(item.class)} frame={frame} label={`Mask of ${one.adapter ?? "the base"}`} />
              <span>
                <b>{one.adapter ?? "Base"}</b> <small>predicted IoU {one.mask.predicted_iou.toFixed(2)}</small>
              </span>
            </button>
          ))
        ) : (
          <p class="hint pad">{item ? "Asking…" : "Select or click an object: base and adapters answer the same clicks side by side."}</p>
        )}
      </div>
      <button class="ghost" aria-label="Close the comparison" title="Close (C)" onClick={() => (store.comparing.value = false)}>
        <Icon name="close" />
      </button>
    </section>
  );
}
