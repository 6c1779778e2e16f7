/** What a tap or a drag means under each tool. Positions come in CSS pixels and leave in pixels of the picture. */

import type { Point, Polygon } from "../contract";
import * as drawing from "../drawing";
import { type Corner, cornerAt, edgeAt, inserted, moved, removed } from "../polygons";
import * as prompting from "../prompting";
import * as store from "../store";
import { boxBetween, holdsPoint, inside, toPicture } from "../view";
import type { Gestures, Mods } from "./gestures";
import { move, zoomAt } from "./sight";

let held: Corner | null = null;
let heldDraft: number | null = null;

const place = (at: Point): Point => toPicture(store.view.value, at);
const reach = (mods: Mods) => (mods.touch ? 18 : 9) / store.view.value.scale;

/** A tap at a place of the picture; also what the keyboard's crosshair does. */
export function tapAt(at: Point, mods: Mods): void {
  const picture = store.picture.value;
  if (!picture || !store.opened.value || !holdsPoint(at, picture)) return;
  const tool = store.tool.value;
  if (tool === "smart") prompting.click(at, mods.negative ? 0 : 1, mods.shift);
  else if (tool === "polygon") tapPolygon(at, mods);
  else if (tool === "select") store.selectedId.value = prompting.objectAt(at)?.id ?? null;
  else if (drawing.beginStroke(at, erases(mods))) drawing.endStroke();
}

/** The right button or Alt turns the brush into the eraser and the other way round. */
const erases = (mods: Mods) => (store.tool.value === "eraser") !== mods.negative;

function tapPolygon(at: Point, mods: Mods): void {
  const draft = store.polygonDraft.value;
  const shown = store.vertices.value?.polygons;
  if (draft) {
    const first = draft[0]!;
    const closing = draft.length > 2 && Math.hypot(first[0] - at[0], first[1] - at[1]) <= reach(mods);
    if (mods.negative) drawing.dropCorner();
    else if (closing) void drawing.closePolygon();
    else drawing.addCorner(at);
    return;
  }
  const corner = shown && cornerAt(shown, at, reach(mods));
  if (shown && corner) {
    if (mods.negative) void drawing.reshape(removed(shown, corner));
    return;
  }
  const edge = shown && !mods.negative && edgeAt(shown, at, reach(mods));
  if (shown && edge) void drawing.reshape(inserted(shown, edge, at));
  else if (!mods.negative) drawing.addCorner(at);
}

/** A corner, or an edge that gets one, under the pointer. */
function grab(at: Point, mods: Mods): boolean {
  const draft = store.polygonDraft.value;
  if (draft) {
    heldDraft = cornerAt([{ outer: draft, holes: [] }], at, reach(mods))?.corner ?? null;
    return heldDraft !== null;
  }
  const editing = store.vertices.value;
  if (!editing) return false;
  held = cornerAt(editing.polygons, at, reach(mods));
  if (held) return true;
  held = edgeAt(editing.polygons, at, reach(mods));
  if (held) store.vertices.value = { ...editing, polygons: inserted(editing.polygons, held, at) };
  return held !== null;
}

function pull(at: Point): void {
  const [draft, editing] = [store.polygonDraft.value, store.vertices.value];
  if (heldDraft !== null && draft) store.polygonDraft.value = draft.map((one, index) => (index === heldDraft ? at : one));
  if (held && editing) store.vertices.value = { ...editing, polygons: moved(editing.polygons, held, at) };
}

let before: Polygon[] | null = null;

export const gestures: Gestures = {
  tap(at, mods) {
    store.crosshair.value = null;
    if (!store.panning.value) tapAt(place(at), mods);
  },
  dragStart(at, mods) {
    const [tool, from, picture] = [store.tool.value, place(at), store.picture.value];
    store.crosshair.value = null;
    if (!picture || !store.opened.value) return false;
    if (tool === "brush" || tool === "eraser") return drawing.beginStroke(from, erases(mods));
    before = store.vertices.value?.polygons ?? null;
    if (tool === "polygon") return !mods.negative && grab(from, mods);
    if (mods.negative) return false;
    store.dragBox.value = { from: inside(from, picture), to: inside(from, picture) };
    return true;
  },
  drag(at, mods) {
    const [to, picture] = [place(at), store.picture.value];
    if (!picture) return;
    store.pointer.value = to;
    if (store.strokeMask.value) drawing.stroke(to, erases(mods));
    else if (store.dragBox.value) store.dragBox.value = { ...store.dragBox.value, to: inside(to, picture) };
    else pull(inside(to, picture));
  },
  dragEnd(_at, mods) {
    const [drag, editing] = [store.dragBox.value, store.vertices.value];
    store.dragBox.value = null;
    if (store.strokeMask.value) drawing.endStroke();
    else if (drag) {
      const frame = boxBetween(drag.from, drag.to);
      if (frame[2] - frame[0] >= 2 && frame[3] - frame[1] >= 2) prompting.box(frame, mods.shift);
    } else if (held && editing) void drawing.reshape(editing.polygons);
    held = heldDraft = null;
  },
  dragCancel() {
    drawing.cancelStroke();
    store.dragBox.value = null;
    if (held && before && store.vertices.value) store.vertices.value = { ...store.vertices.value, polygons: before };
    held = heldDraft = null;
  },
  pan: move,
  pinch: zoomAt,
  hover(at) {
    const point = at && place(at);
    store.pointer.value = point;
    if (point) store.crosshair.value = null;
    const picture = store.picture.value;
    prompting.hover(point && picture && holdsPoint(point, picture) && !prompting.objectAt(point) ? point : null);
  },
  double() {
    if (store.tool.value !== "polygon" || !store.polygonDraft.value) return;
    const draft = store.polygonDraft.value;
    const [last, one] = [draft[draft.length - 1]!, draft[draft.length - 2]];
    if (one && Math.hypot(last[0] - one[0], last[1] - one[1]) * store.view.value.scale < 6) drawing.dropCorner();
    void drawing.closePolygon();
  },
  pans: () => store.panning.value || store.tool.value === "select",
  slop: (touch) => {
    const paints = store.tool.value === "brush" || store.tool.value === "eraser";
    if (paints) return touch ? 4 : 0;
    return touch ? 10 : 4;
  },
};
