/** What a tap or a drag does with each tool. Positions arrive in CSS pixels and become pixels of the image. */

import { join } from "../clean-up";
import * as manual from "../manual-tools";
import { type CornerIndex, cornerAt, edgeAt, insertCorner, moveCorner, removeCorner } from "../polygons";
import * as prompts from "../prompts";
import * as store from "../store";
import type { Point, Polygon } from "../types";
import { boxBetween, clampToImage, inImage, toImage } from "../view";
import type { GestureHandlers, Modifiers } from "./gestures";
import { pan, zoomAt } from "./viewport";

/** The corner that is being dragged, of the edited polygons or of the draft. */
let draggedCorner: CornerIndex | null = null;
let draggedDraftCorner: number | null = null;
let polygonsBeforeDrag: Polygon[] | null = null;

const imagePoint = (at: Point): Point => toImage(store.view.value, at);
/** How near a corner counts as hit, in pixels of the image. */
const hitRadius = ({ touch }: Modifiers) => (touch ? 18 : 9) / store.view.value.scale;

/** A tap at a point of the image, by pointer or by the keyboard's crosshair. */
export function tapAt(point: Point, modifiers: Modifiers): void {
  const image = store.openImage.value;
  if (!image || !store.editable.value || !inImage(point, image)) return;
  const tool = store.tool.value;
  if (store.joining.value) {
    const other = prompts.objectAt(point, store.selectedId.value);
    if (other) join(other);
    else store.notify("There is no other object here.");
    return;
  }
  if (tool === "prompt") prompts.click(point, modifiers.negative ? 0 : 1, modifiers.shift);
  else if (tool === "polygon") tapPolygon(point, modifiers);
  else if (tool === "select") store.selectedId.value = prompts.objectAt(point)?.id ?? null;
  else if (manual.beginStroke(point, erases(modifiers))) manual.endStroke();
}

/** The right button and Alt swap brush and eraser. */
const erases = ({ negative }: Modifiers) => (store.tool.value === "eraser") !== negative;

function tapPolygon(point: Point, modifiers: Modifiers): void {
  const radius = hitRadius(modifiers);
  const draft = store.polygonDraft.value;
  if (draft) {
    const first = draft[0]!;
    const closes = draft.length > 2 && Math.hypot(first[0] - point[0], first[1] - point[1]) <= radius;
    if (modifiers.negative) manual.removeLastCorner();
    else if (closes) void manual.closePolygon();
    else manual.addCorner(point);
    return;
  }
  const polygons = store.editedPolygons.value?.polygons;
  const corner = polygons && cornerAt(polygons, point, radius);
  if (polygons && corner) {
    if (modifiers.negative) void manual.applyPolygons(removeCorner(polygons, corner));
    return;
  }
  const edge = polygons && !modifiers.negative && edgeAt(polygons, point, radius);
  if (polygons && edge) void manual.applyPolygons(insertCorner(polygons, edge, point));
  else if (!modifiers.negative) manual.addCorner(point);
}

/** Starts dragging the corner at a point, or a new one if there is an edge. False if there is neither. */
function grabCorner(point: Point, modifiers: Modifiers): boolean {
  const radius = hitRadius(modifiers);
  const draft = store.polygonDraft.value;
  if (draft) {
    draggedDraftCorner = cornerAt([{ outer: draft, holes: [] }], point, radius)?.corner ?? null;
    return draggedDraftCorner !== null;
  }
  const edited = store.editedPolygons.value;
  if (!edited) return false;
  draggedCorner = cornerAt(edited.polygons, point, radius);
  if (draggedCorner) return true;
  draggedCorner = edgeAt(edited.polygons, point, radius);
  if (draggedCorner) {
    store.editedPolygons.value = { ...edited, polygons: insertCorner(edited.polygons, draggedCorner, point) };
  }
  return draggedCorner !== null;
}

function dragCorner(to: Point): void {
  const [draft, edited] = [store.polygonDraft.value, store.editedPolygons.value];
  if (draggedDraftCorner !== null && draft) {
    store.polygonDraft.value = draft.map((corner, index) => (index === draggedDraftCorner ? to : corner));
  }
  if (draggedCorner && edited) {
    store.editedPolygons.value = { ...edited, polygons: moveCorner(edited.polygons, draggedCorner, to) };
  }
}

export const gestureHandlers: GestureHandlers = {
  tap(at, modifiers) {
    store.crosshair.value = null;
    if (!store.panning.value) tapAt(imagePoint(at), modifiers);
  },
  dragStart(at, modifiers) {
    const [tool, from, image] = [store.tool.value, imagePoint(at), store.openImage.value];
    store.crosshair.value = null;
    if (!image || !store.editable.value) return false;
    if (store.joining.value) {
      tapAt(from, modifiers);
      return false;
    }
    if (tool === "brush" || tool === "eraser") return manual.beginStroke(from, erases(modifiers));
    polygonsBeforeDrag = store.editedPolygons.value?.polygons ?? null;
    if (tool === "polygon") return !modifiers.negative && grabCorner(from, modifiers);
    if (modifiers.negative) return false;
    store.dragBox.value = { from: clampToImage(from, image), to: clampToImage(from, image) };
    return true;
  },
  drag(at, modifiers) {
    const [to, image] = [imagePoint(at), store.openImage.value];
    if (!image) return;
    store.pointer.value = to;
    if (store.stroke.value) manual.continueStroke(to, erases(modifiers));
    else if (store.dragBox.value) store.dragBox.value = { ...store.dragBox.value, to: clampToImage(to, image) };
    else dragCorner(clampToImage(to, image));
  },
  dragEnd(_at, modifiers) {
    const [drag, edited] = [store.dragBox.value, store.editedPolygons.value];
    store.dragBox.value = null;
    if (store.stroke.value) manual.endStroke();
    else if (drag) {
      const box = boxBetween(drag.from, drag.to);
      if (box[2] - box[0] >= 2 && box[3] - box[1] >= 2) prompts.promptBox(box, modifiers.shift);
    } else if (draggedCorner && edited) void manual.applyPolygons(edited.polygons);
    draggedCorner = draggedDraftCorner = null;
  },
  dragCancel() {
    manual.cancelStroke();
    store.dragBox.value = null;
    if (draggedCorner && polygonsBeforeDrag && store.editedPolygons.value) {
      store.editedPolygons.value = { ...store.editedPolygons.value, polygons: polygonsBeforeDrag };
    }
    draggedCorner = draggedDraftCorner = null;
  },
  pan,
  pinch: zoomAt,
  hover(at) {
    const point = at && imagePoint(at);
    store.pointer.value = point;
    if (point) store.crosshair.value = null;
    const image = store.openImage.value;
    prompts.previewAt(point && image && inImage(point, image) && !prompts.objectAt(point) ? point : null);
  },
  doubleClick() {
    const draft = store.polygonDraft.value;
    if (store.tool.value !== "polygon" || !draft) return;
    const [last, previous] = [draft[draft.length - 1]!, draft[draft.length - 2]];
    // the two clicks of a double click have added the same corner twice
    const repeated = previous && Math.hypot(last[0] - previous[0], last[1] - previous[1]) * store.view.value.scale < 6;
    if (repeated) manual.removeLastCorner();
    void manual.closePolygon();
  },
  dragPans: () => store.panning.value || store.tool.value === "select",
  tapTolerance: (touch) => {
    const paints = store.tool.value === "brush" || store.tool.value === "eraser";
    if (paints) return touch ? 4 : 0;
    return touch ? 10 : 4;
  },
};
