/** Actions on the mask of the selected object: clean-up, splitting, joining, copying to the next image. */

import * as api from "./api";
import type { CleanUp } from "./contract";
import { commit, onImageClose, openImage } from "./editor";
import { type Mask, joined } from "./mask";
import { putObject } from "./object-actions";
import { maskOf, newId, rleOf, sameMask } from "./records";
import * as store from "./store";
import type { AnnotatedObject } from "./store";

onImageClose(() => (store.joining.value = false));

/** A model's score says nothing about a mask that was edited since. */
const NO_SCORE = { score: null, uncertainty: null };

const UNCHANGED: Record<CleanUp, string> = {
  fill: "The mask has no holes.",
  crumbs: "The mask has no small parts.",
  smooth: "The outline is smooth already.",
  split: "The mask has only one part.",
};

/** Applies an operation to the selected object; "split" makes an object of each part. */
export async function cleanUp(operation: CleanUp): Promise<void> {
  const [image, object] = [store.openImageId.value, store.selectedObject.value];
  if (!image || !object) return store.notify("Select an object first.");
  try {
    const masks = (await api.cleanUp(image, rleOf(object.mask), operation)).map(maskOf);
    const current = store.objects.value.find((one) => one.id === object.id);
    if (store.openImageId.value !== image || !current || !sameMask(current.mask, object.mask)) return;
    const [first, ...others] = masks;
    if (!first || (!others.length && sameMask(first, object.mask))) return store.notify(UNCHANGED[operation]);
    const parts = others.map((mask): AnnotatedObject => ({ ...object, ...NO_SCORE, id: newId(), mask, prompts: null }));
    const changed = { ...object, ...NO_SCORE, mask: first, prompts: others.length ? null : object.prompts };
    commit([...store.objects.value.map((one) => (one.id === object.id ? changed : one)), ...parts], object.id);
    if (others.length) store.notify(`Split into ${masks.length} objects.`);
  } catch (error) {
    store.notifyError(error);
  }
}

/** Waits for a click on the object to join to the selected one. */
export function startJoining(): void {
  if (!store.selectedId.value) return store.notify("Select an object first.");
  if (store.objects.value.length < 2) return store.notify("There is no other object.");
  store.joining.value = true;
  store.notify("Click the object to join. Escape: cancel.");
}

/** Joins an object to the selected one, which keeps its class. */
export function join(other: AnnotatedObject): void {
  store.joining.value = false;
  const object = store.selectedObject.value;
  if (!object || object.id === other.id) return;
  const both: AnnotatedObject = { ...object, ...NO_SCORE, mask: joined(object.mask, other.mask), prompts: null };
  const rest = store.objects.value.filter((one) => one.id !== other.id);
  commit(rest.map((one) => (one.id === object.id ? both : one)), object.id);
}

/** Copies the selected object to the next image by name, and opens it. */
export async function copyToNext(): Promise<void> {
  const [object, image] = [store.selectedObject.value, store.openImage.value];
  if (!object || !image) return store.notify("Select an object first.");
  const byName = [...store.images.value].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const next = byName[byName.findIndex((one) => one.id === image.id) + 1];
  if (!next) return store.notify("This is the last image.");
  if (next.width !== image.width || next.height !== image.height) {
    return store.notify(`${next.name} has another size, so the mask cannot be copied to it.`);
  }
  await openImage(next.id);
  if (store.openImageId.value === next.id && store.editable.value) putCopy(object, object.mask);
}

function putCopy({ class: name, source }: AnnotatedObject, mask: Mask): void {
  if (store.objects.value.some((one) => one.class === name && sameMask(one.mask, mask))) {
    return store.notify("This image has the object already.");
  }
  putObject(newId(), { class: name, mask, source: source === "auto" || source === "import" ? "brush" : source, clicks: 1 });
}
