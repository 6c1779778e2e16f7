/** Every key of the page, once: the listener and the `?` overlay both read this list. */

import * as drawing from "./drawing";
import * as objects from "./objects";
import * as prompting from "./prompting";
import { boxOf } from "./mask";
import { fit, zoom, canvasSize } from "./stage/sight";
import { tapAt } from "./stage/tools";
import * as store from "./store";
import { toPicture } from "./view";
import * as work from "./work";

export interface Key {
  /** As `combo` writes them; the first is shown. */
  keys: string[];
  text: string;
  /** False: the key was not used, the browser may have it. */
  run: () => boolean | void;
  /** Works only while the canvas has the focus. */
  stage?: boolean;
}

export interface Group {
  name: string;
  keys: Key[];
}

const setTool = (tool: store.Tool) => () => {
  store.polygonDraft.value = null;
  store.tool.value = tool;
};
const size = (factor: number) => () => {
  const next = Math.round(store.brush.value * factor);
  store.setBrush(next === store.brush.value ? next + Math.sign(factor - 1) : next);
};

export const groups: Group[] = [
  {
    name: "Pictures",
    keys: [
      { keys: ["Enter"], text: "Accept and go on (in a polygon: close it)", run: enter },
      { keys: ["."], text: "Next picture of the list", run: () => work.step(1) },
      { keys: [","], text: "Picture before", run: () => work.step(-1) },
      { keys: ["Ctrl+s"], text: "Save now (it saves by itself)", run: () => void work.flush() },
    ],
  },
  {
    name: "Objects",
    keys: [
      { keys: ["n"], text: "New object: the next click begins it", run: prompting.newObject },
      { keys: ["Tab"], text: "The next of the model’s masks (Shift+Tab: before)", run: () => prompting.cycleCandidate(1), stage: true },
      { keys: ["Delete", "Backspace"], text: "Delete the object (in a polygon: its last corner)", run: erase },
      { keys: ["j"], text: "Select the next object", run: () => objects.cycle(1) },
      { keys: ["k"], text: "Select the object before", run: () => objects.cycle(-1) },
      { keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], text: "Class 1 to 9, also of the selected object", run: () => false },
      { keys: ["Ctrl+z"], text: "Undo", run: work.undo },
      { keys: ["Ctrl+Shift+z", "Ctrl+y"], text: "Redo", run: work.redo },
      { keys: ["Escape"], text: "Leave the object, drop the polygon, close what is open", run: escape },
    ],
  },
  {
    name: "Tools",
    keys: [
      { keys: ["s"], text: "Click and box", run: setTool("smart") },
      { keys: ["b"], text: "Brush (right button or Alt: erase)", run: setTool("brush") },
      { keys: ["e"], text: "Eraser", run: setTool("eraser") },
      { keys: ["p"], text: "Polygon; on a selected object: its corners", run: setTool("polygon") },
      { keys: ["v"], text: "Select and move", run: setTool("select") },
      { keys: ["["], text: "Smaller brush", run: size(1 / 1.25) },
      { keys: ["]"], text: "Larger brush", run: size(1.25) },
      { keys: ["o"], text: "Each click a new object, or all clicks one object", run: () => void (store.onePerClick.value = !store.onePerClick.value) },
      { keys: ["u"], text: "Preview under the mouse", run: () => void (store.hovering.value = !store.hovering.value) },
    ],
  },
  {
    name: "View",
    keys: [
      { keys: ["f"], text: "Whole picture", run: () => fit() },
      { keys: ["z"], text: "Zoom to the selected object", run: zoomTo },
      { keys: ["+", "="], text: "Zoom in", run: () => zoom(1.3) },
      { keys: ["-"], text: "Zoom out", run: () => zoom(1 / 1.3) },
      { keys: ["h"], text: "Hide or show all masks", run: () => void (store.allHidden.value = !store.allHidden.value) },
      { keys: ["c"], text: "Compare base and adapters", run: () => void (store.comparing.value = !store.comparing.value) },
      { keys: ["m"], text: "IoU map of the selected object", run: () => void (store.mapping.value = !store.mapping.value) },
      { keys: ["a"], text: "Let the adapter find objects here", run: () => void prompting.proposeHere() },
      { keys: ["?"], text: "These keys", run: () => void (store.dialog.value = "help") },
    ],
  },
  {
    name: "Without a mouse (canvas focused)",
    keys: [
      { keys: ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"], text: "Move the cross-hair (Shift: further)", run: () => false, stage: true },
      { keys: ["x"], text: "Click “not the object” at the cross-hair", run: () => crossTap(true), stage: true },
      { keys: [" "], text: "Click “object” at the cross-hair; held with the mouse: move the picture", run: () => false, stage: true },
    ],
  },
];

function enter(): void {
  if (store.polygonDraft.value) void drawing.closePolygon();
  else work.accept();
}

function erase(): void {
  if (store.polygonDraft.value) drawing.dropCorner();
  else if (store.selectedId.value) objects.remove(store.selectedId.value);
}

function escape(): void {
  if (store.strokeMask.value) drawing.cancelStroke();
  else if (store.polygonDraft.value) store.polygonDraft.value = null;
  else if (store.dragBox.value) store.dragBox.value = null;
  else if (store.crosshair.value) store.crosshair.value = null;
  else prompting.newObject();
}

function zoomTo(): void {
  const item = store.selected.value;
  if (item) fit(boxOf(item.mask));
}

const ARROWS: Record<string, [number, number]> = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
};

function nudge([dx, dy]: [number, number], far: boolean): void {
  const picture = store.picture.value;
  if (!picture) return;
  const { width, height } = canvasSize.value;
  const from = store.crosshair.value ?? toPicture(store.view.value, [width / 2, height / 2]);
  const by = (far ? 40 : 8) / store.view.value.scale;
  store.crosshair.value = [
    Math.min(Math.max(from[0] + dx * by, 0), picture.width - 1),
    Math.min(Math.max(from[1] + dy * by, 0), picture.height - 1),
  ];
}

function crossTap(negative: boolean): boolean {
  const at = store.crosshair.value;
  if (!at) return false;
  tapAt(at, { negative, shift: false, touch: false });
  return true;
}

/** "Ctrl+Shift+z": modifiers in that order, letters small; Shift is not said where it makes the character. */
export function combo(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey" | "altKey">): string {
  const letter = event.key.length === 1;
  const shift = event.shiftKey && (!letter || (letter && /[a-z]/i.test(event.key)));
  return (
    (event.ctrlKey || event.metaKey ? "Ctrl+" : "") +
    (event.altKey ? "Alt+" : "") +
    (shift ? "Shift+" : "") +
    (letter ? event.key.toLowerCase() : event.key)
  );
}

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** Enter, Space and Tab belong to a focused control; everything belongs to a dialog. */
function belongsElsewhere(event: KeyboardEvent): boolean {
  if (store.dialog.value && !document.querySelector("dialog:not([open])")) return true; // closed: the page's once more
  const target = event.target;
  if (typing(target)) {
    const slider = target instanceof HTMLInputElement && /^(range|radio|checkbox)$/.test(target.type);
    return !slider || /^(Arrow|Home|End|Page|Enter| |Tab)/.test(event.key);
  }
  const control = target instanceof HTMLElement && target.closest("button, a, summary, [role=option]") !== null;
  return control && /^(Enter| |Tab|Arrow.*)$/.test(event.key);
}

let spaceAt: number | null = null;

function down(event: KeyboardEvent): void {
  if (belongsElsewhere(event)) return;
  const onStage = document.activeElement?.id === "stage" || document.activeElement === document.body;
  const name = combo(event);
  const arrow = ARROWS[event.key];
  let used: boolean | void = false;
  if (event.key === " ") {
    if (!event.repeat) spaceAt = performance.now();
    store.panning.value = true;
    used = true;
  } else if (arrow && onStage) {
    nudge(arrow, event.shiftKey);
    used = true;
  } else if (/^[1-9]$/.test(name)) {
    const chosen = store.project.value?.classes[Number(name) - 1];
    if (chosen) objects.chooseClass(chosen.name);
    used = true;
  } else if (name === "Shift+Tab" && onStage) used = store.asking.value ? false : prompting.cycleCandidate(-1);
  else {
    const found = groups.flatMap((group) => group.keys).find((one) => one.keys.includes(name) && (!one.stage || onStage));
    if (found && (!event.repeat || !["Enter", "n"].includes(name))) used = found.run() !== false;
  }
  if (used) event.preventDefault();
}

function up(event: KeyboardEvent): void {
  if (event.key !== " ") return;
  const short = spaceAt !== null && performance.now() - spaceAt < 350;
  spaceAt = null;
  if (store.panning.value && short && store.crosshair.value) crossTap(false);
  store.panning.value = false;
}

export function listen(): void {
  addEventListener("keydown", down);
  addEventListener("keyup", up);
  addEventListener("blur", () => (store.panning.value = false));
}
