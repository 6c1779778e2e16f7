/** Held-out objects with the masks of the base model and of an adapter. */

import { useEffect, useState } from "preact/hooks";

import { getHeldOutObjects, imageUrl } from "../api";
import { boxOf } from "../mask";
import { maskOf } from "../records";
import * as store from "../store";
import type { HeldOutObject } from "../types";
import { formatPercent } from "./format";
import { MaskCrop, cropAround } from "./MaskCrop";
import { Modal } from "./Modal";

export function BeforeAfterDialog() {
  const adapter = store.beforeAfterAdapter.value ?? "";
  const about = store.project.value!.adapters.find((one) => one.name === adapter);
  const promptless = about?.promptless ?? false;
  const [objects, setObjects] = useState<HeldOutObject[] | null>(null);
  useEffect(() => {
    let current = true;
    setObjects(null);
    if (adapter) getHeldOutObjects(adapter).then((response) => current && setObjects(response), store.notifyError);
    return () => {
      current = false;
    };
  }, [adapter]);
  return (
    <Modal title={`Before and after: ${adapter}`} wide>
      {!objects && <p class="hint">Loading…</p>}
      {objects && !objects.length && (
        <p class="hint">Nothing was compared in this fit. Accept a few more images and fit again to see a comparison.</p>
      )}
      {objects && objects.length > 0 && <Results objects={objects} promptless={promptless} crossValidated={!!about?.crossValidated} />}
    </Modal>
  );
}

interface ResultsProps {
  objects: HeldOutObject[];
  promptless: boolean;
  crossValidated: boolean;
}

function Results({ objects, promptless, crossValidated }: ResultsProps) {
  const mean = (key: "baseIou" | "adapterIou") =>
    formatPercent(objects.reduce((sum, one) => sum + one[key], 0) / objects.length);
  return (
    <>
      <p class="hint">
        {crossValidated
          ? "Cross-validated: each image is predicted by an adapter that was not fitted on it. Left: base model with one click at the center of each object. Right: adapter, without a click. "
          : promptless
          ? "Images held out from the fit. Left: base model with one click at the center of the object. Right: adapter, without a click. "
          : "Images held out from the fit, with one click at the center of each object. Left: base model. Right: adapter. "}
        {!crossValidated && objects.every((one) => one.baseMask.counts === one.adapterMask.counts) &&
          "The adapter leaves clicks to the base model, so both masks are the same; it differs where it finds objects by itself. "}
        Dashed line: your annotation. Mean IoU {mean("baseIou")} → <b>{mean("adapterIou")}</b>.
      </p>
      <div class="gallery">
        {objects.map((one) => (
          <Pair key={one.imageId + one.object} object={one} />
        ))}
      </div>
    </>
  );
}

function Pair({ object }: { object: HeldOutObject }) {
  const [image, setImage] = useState<HTMLImageElement | null>(null);
  useEffect(() => {
    let current = true;
    const element = new Image();
    element.src = imageUrl(object.imageId);
    element.decode().then(
      () => current && setImage(element),
      () => undefined, // the crop stays empty
    );
    return () => {
      current = false;
    };
  }, [object.imageId]);
  const truth = maskOf(object.truth);
  const shared = {
    image,
    truth,
    color: store.classColor(object.class),
    crop: cropAround([boxOf(truth)], truth.width, truth.height),
  };
  const [before, after] = [object.baseIou.toFixed(2), object.adapterIou.toFixed(2)];
  return (
    <figure>
      <div class="pair">
        <MaskCrop {...shared} mask={maskOf(object.baseMask)} label={`Base model: IoU ${before}`} />
        <MaskCrop {...shared} mask={maskOf(object.adapterMask)} label={`Adapter: IoU ${after}`} />
      </div>
      <figcaption>
        <span>
          {object.imageName} · {object.class}
        </span>
        <span class={object.adapterIou >= object.baseIou ? "up" : "down"}>
          IoU {before} → <b>{after}</b>
        </span>
      </figcaption>
    </figure>
  );
}
