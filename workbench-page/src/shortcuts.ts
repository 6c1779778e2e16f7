/** Keyboard shortcuts: the one list that both the key handler and the help dialog read. */

import { cleanUp, copyToNext, startJoining } from "./clean-up";
import * as editor from "./editor";
import * as manual from "./manual-tools";
import { boxOf } from "./mask";
import { chooseClass, deleteObject, selectNext } from "./object-actions";
import { openFindDialog } from "./find-similar";
import * as prompts from "./prompts";
import { tapAt } from "./stage/tools";
import { canvasSize, fitImage, zoomIn, zoomOut } from "./stage/viewport";
import * as store from "./store";
import { toImage } from "./view";

export interface Shortcut {
  /** As `combination` spells them. */
  keys: string[];
  text: string;
  /** False: the shortcut does not apply, and the browser handles the key. */
  run: () => boolean | void;
  /** Works only while the canvas has the focus. */
  onStage?: boolean;
}

export interface ShortcutGroup {
  name: string;
  shortcuts: Shortcut[];
}

const setTool = (tool: store.Tool) => () => store.setTool(tool);
const resizeBrush = (factor: number) => () => {
  const size = Math.round(store.brushSize.value * factor);
  store.setBrushSize(size === store.brushSize.value ? size + Math.sign(factor - 1) : size);
};
const handledByKeyDown = () => false;

export const shortcutGroups: ShortcutGroup[] = [
  {
    name: "Images",
    shortcuts: [
      { keys: ["Enter"], text: "Accept and open the next image; close the polygon", run: acceptOrClose },
      { keys: ["."], text: "Next image", run: editor.next },
      { keys: [","], text: "Back to the image seen before", run: editor.previous },
      { keys: ["PageDown"], text: "Next page of an image stack", run: () => editor.turnPage(1) },
      { keys: ["PageUp"], text: "Previous page of an image stack", run: () => editor.turnPage(-1) },
      { keys: ["Ctrl+s"], text: "Save now (changes are saved automatically)", run: () => void editor.flush() },
    ],
  },
  {
    name: "Objects",
    shortcuts: [
      { keys: ["n"], text: "New object", run: prompts.deselect },
      { keys: ["Tab"], text: "Next candidate mask (Shift+Tab: previous)", run: () => prompts.cycleCandidate(1), onStage: true },
      { keys: ["Delete", "Backspace"], text: "Delete the object; remove the last polygon point", run: deleteSelection },
      { keys: ["j"], text: "Select the next object", run: () => selectNext(1) },
      { keys: ["k"], text: "Select the previous object", run: () => selectNext(-1) },
      { keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], text: "Choose a class, also for the selected object", run: handledByKeyDown },
      { keys: ["Ctrl+z"], text: "Undo the last change, or the last acceptance", run: editor.undo },
      { keys: ["Ctrl+Shift+z", "Ctrl+y"], text: "Redo", run: editor.redo },
      { keys: ["Escape"], text: "Deselect the object, cancel the polygon", run: cancel },
    ],
  },
  {
    name: "Without a mouse (focus on the image)",
    shortcuts: [
      { keys: ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"], text: "Move the crosshair (Shift: faster)", run: handledByKeyDown, onStage: true },
      { keys: [" "], text: "Click at the crosshair to add", run: handledByKeyDown, onStage: true },
      { keys: ["x"], text: "Click at the crosshair to remove", run: () => tapCrosshair(true), onStage: true },
    ],
  },
  {
    name: "Tools",
    shortcuts: [
      { keys: ["s"], text: "Click or box", run: setTool("prompt") },
      { keys: ["b"], text: "Brush (right button or Alt: erase)", run: setTool("brush") },
      { keys: ["e"], text: "Eraser", run: setTool("eraser") },
      { keys: ["p"], text: "Polygon: draw one, or edit the selected object", run: setTool("polygon") },
      { keys: ["v"], text: "Select and pan", run: setTool("select") },
      { keys: ["["], text: "Smaller brush", run: resizeBrush(1 / 1.25) },
      { keys: ["]"], text: "Larger brush", run: resizeBrush(1.25) },
      { keys: ["o"], text: "New object with each click, on or off", run: () => void (store.newObjectPerClick.value = !store.newObjectPerClick.value) },
      { keys: ["u"], text: "Mask preview, on or off", run: () => void (store.previewOn.value = !store.previewOn.value) },
    ],
  },
  {
    name: "Selected object",
    shortcuts: [
      { keys: ["Shift+f"], text: "Fill the holes of the mask", run: () => void cleanUp("fill") },
      { keys: ["Shift+d"], text: "Drop the small parts of the mask", run: () => void cleanUp("crumbs") },
      { keys: ["Shift+s"], text: "Smooth the outline", run: () => void cleanUp("smooth") },
      { keys: ["Shift+p"], text: "Split the mask into its parts", run: () => void cleanUp("split") },
      { keys: ["Shift+j"], text: "Join with another object", run: startJoining },
      { keys: ["Shift+c"], text: "Copy the object to the next image by name", run: () => void copyToNext() },
    ],
  },
  {
    name: "View",
    shortcuts: [
      { keys: ["f"], text: "Fit the image to the window", run: () => fitImage() },
      { keys: ["z"], text: "Zoom to the selected object", run: zoomToSelection },
      { keys: ["+", "="], text: "Zoom in", run: zoomIn },
      { keys: ["-"], text: "Zoom out", run: zoomOut },
      { keys: ["i"], text: "One color for each object, or for each class", run: () => void (store.colorByObject.value = !store.colorByObject.value) },
      { keys: ["h"], text: "Hide or show all masks", run: () => void (store.masksHidden.value = !store.masksHidden.value) },
      { keys: ["c"], text: "Compare the base model and the adapters", run: () => void (store.compareOn.value = !store.compareOn.value) },
      { keys: ["m"], text: "IoU map of the selected object", run: () => void (store.iouMapOn.value = !store.iouMapOn.value) },
      { keys: ["a"], text: "Find objects with the active adapter", run: () => void prompts.findObjects() },
      { keys: ["Shift+a"], text: "Find objects like the selected one", run: openFindDialog },
      { keys: ["?"], text: "Show this help", run: () => void (store.dialog.value = "help") },
    ],
  },
];

function acceptOrClose(): void {
  if (store.polygonDraft.value) void manual.closePolygon();
  else editor.accept();
}

function deleteSelection(): void {
  if (store.polygonDraft.value) manual.removeLastCorner();
  else if (store.selectedId.value) deleteObject(store.selectedId.value);
}

function cancel(): void {
  if (store.joining.value) {
    store.joining.value = false;
    return;
  }
  if (store.stroke.value) manual.cancelStroke();
  else if (store.polygonDraft.value) store.polygonDraft.value = null;
  else if (store.dragBox.value) store.dragBox.value = null;
  else if (store.crosshair.value) store.crosshair.value = null;
  else prompts.deselect();
}

function zoomToSelection(): void {
  const object = store.selectedObject.value;
  if (object) fitImage(boxOf(object.mask));
}

const ARROWS: Record<string, [number, number]> = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
};

function moveCrosshair([dx, dy]: [number, number], fast: boolean): void {
  const image = store.openImage.value;
  if (!image) return;
  const { width, height } = canvasSize.value;
  const [x, y] = store.crosshair.value ?? toImage(store.view.value, [width / 2, height / 2]);
  const step = (fast ? 40 : 8) / store.view.value.scale;
  store.crosshair.value = [
    Math.min(Math.max(x + dx * step, 0), image.width - 1),
    Math.min(Math.max(y + dy * step, 0), image.height - 1),
  ];
}

function tapCrosshair(negative: boolean): boolean {
  const at = store.crosshair.value;
  if (!at) return false;
  tapAt(at, { negative, shift: false, touch: false });
  return true;
}

/** Spells an event as "Ctrl+Shift+z": letters in lower case, no Shift where it is part of the character, as in "?". */
export function combination(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey" | "altKey">): string {
  const character = event.key.length === 1;
  const shift = event.shiftKey && (!character || /[a-z]/i.test(event.key));
  return (
    (event.ctrlKey || event.metaKey ? "Ctrl+" : "") +
    (event.altKey ? "Alt+" : "") +
    (shift ? "Shift+" : "") +
    (character ? event.key.toLowerCase() : event.key)
  );
}

const KEY_LABELS: Record<string, string> = {
  " ": "Space",
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
  Delete: "Del",
  Backspace: "⌫",
};

/** Spells a combination as on a keyboard: "Ctrl+Shift+Z". */
export function keyLabel(combination: string): string {
  if (combination === "+") return "+";
  const label = (key: string) => KEY_LABELS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  return combination.split("+").map(label).join("+");
}

/** Whether a dialog or the focused control handles the key. */
function handledElsewhere(event: KeyboardEvent): boolean {
  // a dialog that Escape has closed is in the document for another moment
  if (store.dialog.value && !document.querySelector("dialog:not([open])")) return true;
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) {
    const takesNoText = target instanceof HTMLInputElement && /^(range|radio|checkbox)$/.test(target.type);
    return !takesNoText || /^(Arrow|Home|End|Page|Enter| |Tab)/.test(event.key);
  }
  const control = target.closest("button, a, summary, [role=option]") !== null;
  return control && /^(Enter| |Tab|Arrow.*)$/.test(event.key);
}

const SHORT_PRESS = 350;
let spacePressedAt: number | null = null;

function onKeyDown(event: KeyboardEvent): void {
  if (handledElsewhere(event)) return;
  const stageFocused = document.activeElement?.id === "stage" || document.activeElement === document.body;
  if (handleKey(event, combination(event), stageFocused)) event.preventDefault();
}

/** Returns whether the key was used. */
function handleKey(event: KeyboardEvent, keys: string, stageFocused: boolean): boolean {
  const arrow = ARROWS[event.key];
  if (event.key === " ") {
    if (!event.repeat) spacePressedAt = performance.now();
    store.panning.value = true;
    return true;
  }
  if (arrow && stageFocused) {
    moveCrosshair(arrow, event.shiftKey);
    return true;
  }
  if (/^[1-9]$/.test(keys)) {
    const chosen = store.project.value?.classes[Number(keys) - 1];
    if (chosen) chooseClass(chosen.name);
    return true;
  }
  if (keys === "Shift+Tab" && stageFocused) return store.pendingPrompt.value ? false : prompts.cycleCandidate(-1);
  const shortcut = shortcutGroups
    .flatMap((group) => group.shortcuts)
    .find((one) => one.keys.includes(keys) && (!one.onStage || stageFocused));
  if (!shortcut || (event.repeat && ["Enter", "n"].includes(keys))) return false;
  return shortcut.run() !== false;
}

function onKeyUp(event: KeyboardEvent): void {
  if (event.key !== " ") return;
  const short = spacePressedAt !== null && performance.now() - spacePressedAt < SHORT_PRESS;
  spacePressedAt = null;
  if (store.panning.value && short && store.crosshair.value) tapCrosshair(false);
  store.panning.value = false;
}

export function listenForShortcuts(): void {
  addEventListener("keydown", onKeyDown);
  addEventListener("keyup", onKeyUp);
  addEventListener("blur", () => (store.panning.value = false));
}
