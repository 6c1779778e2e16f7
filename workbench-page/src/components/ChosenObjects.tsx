/** Objects that were chosen as references of a search. */

import { useEffect, useMemo, useState } from "preact/hooks";

import { imageUrl } from "../api";
import { changeReference } from "../find-similar";
import { boxOf } from "../mask";
import { maskOf } from "../records";
import * as store from "../store";
import type { ChosenReference } from "../store";
import { IconButton } from "./IconButton";
import { MaskCrop, cropAround } from "./MaskCrop";

export function ChosenObjects({ references }: { references: readonly ChosenReference[] }) {
  return (
    <>
      <h3>Chosen objects</h3>
      <div class="sheet references" id="chosen-objects">
        {references.map((one) => (
          <Reference key={one.image + one.rle?.counts} reference={one} />
        ))}
      </div>
    </>
  );
}

function Reference({ reference }: { reference: ChosenReference }) {
  const [image, setImage] = useState<HTMLImageElement | null>(null);
  useEffect(() => {
    let current = true;
    const element = new Image();
    element.src = imageUrl(reference.image);
    element.decode().then(
      () => current && setImage(element),
      () => undefined, // the crop stays empty
    );
    return () => {
      current = false;
    };
  }, [reference.image]);
  const mask = useMemo(() => (reference.rle ? maskOf(reference.rle) : null), [reference.rle]);
  if (!mask) return null;
  const { alike } = reference;
  return (
    <div class={`tile chosen${alike ? "" : " unlike"}`} data-alike={alike}>
      <MaskCrop
        image={image}
        mask={mask}
        color={alike ? store.classColor(reference.class) : "#c62828"}
        crop={cropAround([boxOf(mask)], mask.width, mask.height)}
        label={`${reference.class} in ${reference.imageName}`}
      />
      <span class="spread">
        <button
          type="button"
          class="chip"
          title="Whether this is an example of what to find, or of what not to find"
          onClick={() => changeReference(reference, !alike)}
        >
          {alike ? "Like this" : "Not like this"}
        </button>
        <IconButton icon="close" label="Remove this reference" size={14} quiet onClick={() => changeReference(reference, null)} />
      </span>
    </div>
  );
}
