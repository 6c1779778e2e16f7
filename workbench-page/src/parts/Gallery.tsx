/** Before and after a fit, on pictures that it did not learn from: base and adapter at the object's centre click. */

import { useEffect, useState } from "preact/hooks";

import { getGallery, imageUrl } from "../api";
import type { GalleryItem } from "../contract";
import { boxOf } from "../mask";
import { maskOf } from "../records";
import * as store from "../store";
import { Crop, around } from "./Crop";
import { Modal } from "./Modal";
import { percent } from "./wording";

export function Gallery() {
  const name = store.galleryOf.value;
  const [list, setList] = useState<GalleryItem[] | null>(null);
  useEffect(() => {
    let mine = true;
    setList(null);
    if (name) getGallery(name).then((answer) => mine && setList(answer.pictures), store.complain);
    return () => {
      mine = false;
    };
  }, [name]);
  const mean = (key: "before_iou" | "after_iou") => percent(list!.reduce((sum, one) => sum + one[key], 0) / list!.length);
  return (
    <Modal title={`Before and after: ${name ?? ""}`} wide>
      {!list && <p class="hint">Asking base and adapter…</p>}
      {list && !list.length && <p class="hint">No picture was held out in this fit. Accept a few more and fit again.</p>}
      {list && list.length > 0 && (
        <>
          <p class="hint">
            Pictures that the fit did not learn from, one click in the middle of the object. White dashes: your mask. Mean
            IoU {mean("before_iou")} → <b>{mean("after_iou")}</b>
          </p>
          <div class="gallery">
            {list.map((one) => (
              <Pair key={one.id + one.object} item={one} />
            ))}
          </div>
        </>
      )}
    </Modal>
  );
}

function Pair({ item }: { item: GalleryItem }) {
  const [image, setImage] = useState<HTMLImageElement | null>(null);
  useEffect(() => {
    let mine = true;
    const picture = new Image();
    picture.src = imageUrl(item.id);
    picture.decode().then(() => mine && setImage(picture), () => undefined); // the frame stays empty
    return () => {
      mine = false;
    };
  }, [item.id]);
  const [truth, before, after] = [maskOf(item.truth), maskOf(item.before), maskOf(item.after)];
  const frame = around([boxOf(truth)], truth.width, truth.height);
  const better = item.after_iou - item.before_iou;
  const colour = store.colourOf(item.class);
  return (
    <figure>
      <div class="pair">
        <Crop image={image} mask={before} truth={truth} colour={colour} frame={frame} label={`Base: IoU ${item.before_iou.toFixed(2)}`} />
        <Crop image={image} mask={after} truth={truth} colour={colour} frame={frame} label={`Adapter: IoU ${item.after_iou.toFixed(2)}`} />
      </div>
      <figcaption>
        <span>
          {item.name} · {item.class}
        </span>
        <span class={better >= 0 ? "up" : "down"}>
          {item.before_iou.toFixed(2)} → <b>{item.after_iou.toFixed(2)}</b>
        </span>
      </figcaption>
    </figure>
  );
}
