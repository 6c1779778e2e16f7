/** References of a search: objects that the user has chosen, and annotated images. */

import { startSearch } from "./jobs";
import { rleOf } from "./records";
import * as store from "./store";
import type { ChosenReference } from "./store";
import type { FindReference, ImageInfo } from "./types";

/** Images that show what to find, if the user chooses nothing else. */
const FIRST_IMAGES = 5;

/** Opens the dialog; the selected object becomes a reference. */
export function openFindDialog(): void {
  const [object, image] = [store.selectedObject.value, store.openImage.value];
  if (object && image) {
    const rle = rleOf(object.mask);
    const known = store.chosenReferences.value.some((one) => one.image === image.id && one.rle?.counts === rle.counts);
    const reference = { image: image.id, imageName: store.shownName(image), class: object.class, rle, alike: true };
    if (!known) store.chosenReferences.value = [...store.chosenReferences.value, reference];
  }
  store.dialog.value = "find";
}

export function changeReference(reference: ChosenReference, alike: boolean | null): void {
  store.chosenReferences.value = store.chosenReferences.value.flatMap((one) =>
    one !== reference ? [one] : alike === null ? [] : [{ ...one, alike }],
  );
}

/** Accepted images with objects of a class. */
export const examples = (name: string): ImageInfo[] =>
  store.images.value.filter((one) => one.state === "accepted" && (one.labels[name] ?? 0) > 0);

/** Accepted images without an object of a class: they show what not to find. */
export const counterexamples = (name: string): ImageInfo[] =>
  store.images.value.filter((one) => one.state === "accepted" && !one.labels[name]);

/** Images that are references when the dialog opens: none if an object was chosen. */
export const firstExamples = (name: string): string[] =>
  store.chosenReferences.value.some((one) => one.alike)
    ? []
    : examples(name)
        .slice(0, FIRST_IMAGES)
        .map((one) => one.id);

/** Images without work of the user, which a search may change. */
export const searchable = (): number =>
  store.images.value.filter((one) => one.state === "proposed" || (one.state === "open" && !one.objects)).length;

/** `alike` and `unlike`: ids of images whose objects are references. */
export function search(
  name: string,
  alike: Iterable<string>,
  unlike: Iterable<string>,
  options: { threshold: number | null; here: string | null },
): Promise<void> {
  const chosen: FindReference[] = store.chosenReferences.value.map(({ image, rle, alike }) => ({ image, rle, alike }));
  const whole = (ids: Iterable<string>, alike: boolean) => [...ids].map((image) => ({ image, rle: null, alike }));
  return startSearch({ class: name, references: [...chosen, ...whole(alike, true), ...whole(unlike, false)], ...options });
}
