/** Below the canvas: masks of the base model and of every adapter for the prompts of the selected object. */

import { boxOf } from "../mask";
import { applyComparedMask } from "../prompts";
import { maskOf } from "../records";
import * as store from "../store";
import { IconButton } from "./IconButton";
import { MaskCrop, cropAround } from "./MaskCrop";

export function ComparisonPanel() {
  if (!store.compareOn.value) return null;
  return (
    <section class="compare" aria-label="Model comparison">
      <div class="compared">
        <ComparedMasks />
      </div>
      <IconButton icon="close" label="Close comparison (C)" onClick={() => (store.compareOn.value = false)} />
    </section>
  );
}

function ComparedMasks() {
  const [compared, object, element] = [store.comparedMasks.value, store.selectedObject.value, store.imageElement.value];
  const image = store.openImage.value;
  if (!object || !image) {
    return <p class="hint pad">Click or select an object to compare the base model and the adapters on it.</p>;
  }
  if (!compared) return <p class="hint pad">Predicting…</p>;
  const masks = compared.map((one) => maskOf(one.rle));
  const crop = cropAround([...masks, object.mask].map(boxOf), image.width, image.height);
  const handDrawn = object.source === "brush" || object.source === "polygon";
  return compared.map(({ adapter, predictedIou }, index) => (
    <button
      key={adapter ?? ""}
      class={`compared-mask${!handDrawn && object.adapter === adapter ? " selected" : ""}`}
      title="Use this mask"
      onClick={() => applyComparedMask(index)}
    >
      <MaskCrop
        image={element}
        mask={masks[index]!}
        color={store.classColor(object.class)}
        crop={crop}
        label={`Mask of ${adapter ?? "the base model"}`}
      />
      <span>
        <b>{adapter ?? "Base model"}</b> <small>predicted IoU {predictedIou.toFixed(2)}</small>
      </span>
    </button>
  ));
}
