/** From clicks and boxes to masks: what is asked, which answer counts, what becomes of it. */

import { computed, effect } from "@preact/signals";

import * as api from "./api";
import type { Box, Point, Prompts } from "./contract";
import { Latest } from "./latest";
import { area, boxOf, holds } from "./mask";
import { put } from "./objects";
import * as objects from "./objects";
import { maskOf, newId, rleOf } from "./records";
import * as store from "./store";
import type { Item } from "./store";
import { flush, onLeave } from "./work";

const answers = new Latest();
const comparisons = new Latest();
const maps = new Latest();
const hovers = new Latest();

onLeave(() => {
  for (const one of [answers, comparisons, maps, hovers]) one.drop();
  store.asking.value = null;
  store.candidates.value = null;
  store.comparison.value = null;
  store.map.value = null;
  store.preview.value = null;
});

/** The smallest object under a position that can be seen. */
export function objectAt(at: Point): Item | null {
  const under = store.items.value.filter((one) => !store.hidden.value.has(one.id) && holds(one.mask, at));
  return under.sort((a, b) => area(a.mask) - area(b.mask))[0] ?? null;
}

/**
 * A click: 1 = object, 0 = not. Goes to the object under work; with none, or where each click is a new object (`other`
 * turns that round for one click), an object begins. A click into another object selects it; with no object under work
 * only if it is of the active class, so that a plate can be marked within a car.
 */
export function click(at: Point, label: 0 | 1, other = false): void {
  const working = store.asking.value?.object ?? store.selectedId.value;
  const starts = label === 1 && (working === null || store.onePerClick.value !== other);
  if (label === 0 && working === null) {
    return store.say("“Not the object” needs an object first: click on it, then on what does not belong to it.");
  }
  const there = label === 1 && !other ? objectAt(at) : null;
  if (there && there.id !== working && (working !== null || there.class === store.activeClass.value)) {
    store.selectedId.value = there.id;
    return;
  }
  if (starts) {
    return void ask(newId(), { points: [at], labels: [1], box: null });
  }
  const before = promptsOf(working!);
  void ask(working!, { points: [...before.points, at], labels: [...before.labels, label], box: before.box });
}

/** A box: a new object, or the frame of the one under work if it began with a box or shift is held. */
export function box(frame: Box, refine: boolean): void {
  const working = store.selectedId.value;
  if (refine && working) return void ask(working, { ...promptsOf(working), box: frame });
  void ask(newId(), { points: [], labels: [], box: frame });
}

/** What has been asked of an object so far; one that came without prompts is asked for by its box. */
function promptsOf(id: string): Prompts {
  if (store.asking.value?.object === id) return store.asking.value.prompts;
  const item = store.items.value.find((one) => one.id === id);
  if (!item) return { points: [], labels: [], box: null };
  if (item.prompts && (item.prompts.points.length || item.prompts.box)) return item.prompts;
  if (item.source === "brush" || item.source === "polygon") {
    store.say("This object was drawn by hand; the click predicts it anew. Ctrl+Z brings the drawing back.");
  }
  return { points: [], labels: [], box: boxOf(item.mask) };
}

async function ask(object: string, prompts: Prompts): Promise<void> {
  const id = store.openId.value;
  if (!id || !store.opened.value) return;
  if (!ready()) return;
  const adapter = store.adapter.value;
  store.asking.value = { object, prompts };
  store.preview.value = null;
  const start = performance.now();
  try {
    const answer = await answers.run((signal) => api.segment(id, adapter, prompts, store.closerFirst.value, signal));
    if (!answer) return;
    store.asking.value = null;
    store.milliseconds.value = performance.now() - start;
    const masks = answer.masks.filter((one) => one.area > 0); // an empty one would delete the object
    if (!masks.length) return store.say("No mask was found there.");
    store.candidates.value = { object, masks, index: 0 };
    take(object, prompts, adapter);
  } catch (error) {
    store.asking.value = null;
    store.complain(error);
  }
}

function ready(): boolean {
  if (store.activeClass.value) return true;
  store.say("Add a class first (on the right): every object belongs to one.");
  return false;
}

/** The candidate that is chosen becomes the object's mask. */
function take(object: string, prompts: Prompts, adapter: string | null): void {
  const chosen = store.candidates.value!;
  const candidate = chosen.masks[chosen.index]!;
  put(object, {
    mask: maskOf(candidate.rle),
    prompts,
    adapter,
    score: candidate.predicted_iou,
    uncertainty: null,
    source: prompts.points.length ? "click" : "box",
    clicks: prompts.points.length + (prompts.box ? 1 : 0),
  });
}

/** Which of the offered masks the selected object has now; -1: none, it was changed since. */
export function candidateIndex(): number {
  const [chosen, item] = [store.candidates.value, store.selected.value];
  if (!chosen || !item || chosen.object !== item.id) return -1;
  const { counts } = rleOf(item.mask);
  return chosen.masks.findIndex((one) => one.rle.counts === counts);
}

/** The next (or the one before) of the masks that the model offered for the selected object; false: there is none. */
export function cycleCandidate(by: number): boolean {
  const chosen = store.candidates.value;
  const item = store.selected.value;
  const now = candidateIndex();
  if (!chosen || !item?.prompts || now < 0 || chosen.masks.length < 2) return false;
  const index = (now + by + chosen.masks.length) % chosen.masks.length;
  store.candidates.value = { ...chosen, index };
  if (chosen.masks.some((one) => one.closer)) store.closerFirst.value = chosen.masks[index]!.closer === true;
  take(item.id, item.prompts, item.adapter);
  return true;
}

/** The object under work is finished; the next click begins another. */
export function newObject(): void {
  answers.drop();
  store.asking.value = null;
  store.selectedId.value = null;
}

/** Has the chosen adapter find objects on the open picture. */
export async function proposeHere(): Promise<void> {
  const [id, adapter] = [store.openId.value, store.adapter.value];
  if (!id || !adapter) return;
  try {
    const found = await api.auto(id, adapter);
    if (store.openId.value !== id) return;
    objects.add(found.objects);
    store.say(found.objects.length ? `${found.objects.length} found.` : "Nothing was found here.");
  } catch (error) {
    store.complain(error);
  }
}

/** Base and adapters on the present prompt; kept up to date while the comparison is open. */
effect(() => {
  const item = store.selected.value;
  const id = store.openId.value;
  const names = [null, ...(store.project.value?.adapters.map((one) => one.name) ?? [])];
  if (!store.comparing.value || !id || !item) {
    comparisons.drop();
    store.comparison.value = null;
    return;
  }
  const prompts = item.prompts ?? { points: [], labels: [], box: boxOf(item.mask) };
  comparisons
    .run((signal) => api.compare(id, names, prompts, signal))
    .then((answer) => {
      if (answer) store.comparison.value = answer.answers;
    }, store.complain);
});

/** Takes the mask of one side of the comparison. */
export function takeCompared(index: number): void {
  const item = store.selected.value;
  const answer = store.comparison.value?.[index];
  if (!item || !answer) return;
  store.candidates.value = null;
  put(item.id, {
    mask: maskOf(answer.mask.rle),
    adapter: answer.adapter,
    score: answer.mask.predicted_iou,
    source: item.prompts?.points.length ? "click" : "box",
  });
}

/** Whether the chosen adapter answers without a click, so that there is no map of where to click. */
export const withoutClicks = computed(
  () => store.project.value?.adapters.find((one) => one.name === store.adapter.value)?.promptless ?? false,
);

/** The IoU map of the selected object under the chosen adapter, while it is switched on. */
effect(() => {
  const [on, id, object, adapter] = [
    store.mapping.value,
    store.openId.value,
    store.selected.value, // another mask is another map
    store.adapter.value,
  ];
  store.map.value = null;
  if (!on || !id || !object || withoutClicks.value) return maps.drop();
  maps
    .run(async (signal) => {
      await flush(); // the server maps the object that it has on disk
      return api.iouMap(id, object.id, adapter, signal);
    })
    .then((answer) => {
      if (answer) store.map.value = answer;
    }, store.complain);
});

let resting: ReturnType<typeof setTimeout> | undefined;

/** What a click here would give, faintly; asked when the mouse rests and nothing else is under way. */
export function hover(at: Point | null): void {
  clearTimeout(resting);
  store.preview.value = null;
  const id = store.openId.value;
  if (!at || !id || !store.hovering.value || store.tool.value !== "smart" || store.encoding.value) return hovers.drop();
  resting = setTimeout(() => {
    if (store.asking.value || !store.activeClass.value) return;
    const prompts = { points: [at], labels: [1], box: null };
    hovers
      .run((signal) => api.segment(id, store.adapter.value, prompts, store.closerFirst.value, signal))
      .then(
        (answer) => {
          if (answer?.masks[0]) store.preview.value = maskOf(answer.masks[0].rle);
        },
        () => undefined, // a preview that does not come is no news
      );
  }, 90);
}
