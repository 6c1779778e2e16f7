/** The state of the page, as signals. Actions (editor.ts, prompts.ts, …) write it; components read it. */

import { computed, effect, signal } from "@preact/signals";

import type { SaveState } from "./autosave";
import { type Filter, commonFolder, filterImages, inQueueOrder } from "./image-queue";
import type { Mask } from "./mask";
import type {
  ComparedMask,
  FindReference,
  ImageInfo,
  ImageState,
  IouMap,
  Job,
  MaskCandidate,
  Point,
  Polygon,
  Project,
  Prompts,
  Source,
} from "./types";
import type { View } from "./view";

/** An `ObjectRecord` with its mask decoded. */
export interface AnnotatedObject {
  id: string;
  class: string;
  mask: Mask;
  source: Source;
  adapter: string | null;
  score: number | null;
  uncertainty: number | null;
  clicks: number;
  prompts: Prompts | null;
}

export type Tool = "prompt" | "brush" | "eraser" | "polygon" | "select";

// project
export const project = signal<Project | null>(null);
export const images = signal<ImageInfo[]>([]);
export const job = signal<Job | null>(null);
export const lossHistory = signal<{ step: number; loss: number }[]>([]);
export const loadError = signal<string | null>(null);
export const connected = signal(true);

// image list
export const filter = signal<Filter>("all");
export const search = signal("");
export const stateCounts = computed(() => {
  const counts: Record<ImageState, number> = { open: 0, proposed: 0, accepted: 0, failed: 0 };
  for (const image of images.value) counts[image.state] += 1;
  return counts;
});
const folder = computed(() => commonFolder(images.value.map((one) => one.name)));
/** The name of an image without the folder that all images have in common. */
export const shownName = ({ name }: ImageInfo): string => name.slice(folder.value.length);
/** Open images with objects. */
export const draftCount = computed(() => images.value.filter((one) => one.state === "open" && one.objects > 0).length);
/** Accepted images with objects, which a fit can use. */
export const usableCount = computed(
  () => images.value.filter((one) => one.state === "accepted" && one.objects > 0).length,
);
export const visibleImages = computed(() => filterImages(inQueueOrder(images.value), filter.value, search.value));

// open image
export const openImageId = signal<string | null>(null);
export const openImage = computed(() => images.value.find((one) => one.id === openImageId.value) ?? null);
export const imageElement = signal<HTMLImageElement | null>(null);
/** Image and annotations are loaded, so objects may be changed. */
export const editable = signal(false);
export const encoding = signal(false);
export const imageState = signal<ImageState>("open");
export const objects = signal<readonly AnnotatedObject[]>([]);
export const selectedId = signal<string | null>(null);
export const selectedObject = computed(() => objects.value.find((one) => one.id === selectedId.value) ?? null);
/** Images seen before the open one, the last at the end, and those that "Previous image" has left. */
export const visited = signal<{ back: readonly string[]; forward: readonly string[] }>({ back: [], forward: [] });
export const canUndo = signal(false);
export const canRedo = signal(false);
export const saveStatus = signal<{ state: SaveState; message: string | null }>({ state: "saved", message: null });

// masks from the server
export const pendingPrompt = signal<{ object: string; prompts: Prompts } | null>(null);
/** Number of polygons that the server is turning into masks. */
export const pendingPolygons = signal(0);
export const maskPending = computed(() => pendingPrompt.value !== null || pendingPolygons.value > 0);
/** Answers of the server by object, the newest first, so that undoing a click brings its candidates back. */
export const candidates = signal<ReadonlyMap<string, readonly MaskCandidate[][]>>(new Map());
export const compareOn = signal(false);
export const comparedMasks = signal<ComparedMask[] | null>(null);
export const iouMapOn = signal(false);
export const iouMap = signal<IouMap | null>(null);
export const previewMask = signal<Mask | null>(null);

// tools and view
export const tool = signal<Tool>("prompt");
export const panning = signal(false);
/** Relative to the image's shorter side, so that one setting suits small and large images. */
const relativeBrushSize = persisted("brush-share", 0.02);
const shorterSide = computed(() => (openImage.value ? Math.min(openImage.value.width, openImage.value.height) : 1000));
export const BRUSH_SIZE = { min: 2, max: 400 };
/** Diameter in pixels of the open image. */
export const brushSize = computed(() => clampBrushSize(relativeBrushSize.value * shorterSide.value));

export function setBrushSize(pixels: number): void {
  relativeBrushSize.value = clampBrushSize(pixels) / shorterSide.value;
}

function clampBrushSize(pixels: number): number {
  return Math.min(BRUSH_SIZE.max, Math.max(BRUSH_SIZE.min, Math.round(pixels)));
}

/** Whether masks of the zoomed crop come first: as the user last chose among candidates. */
export const zoomFirst = persisted("zoom-first", false);
export const opacity = persisted("opacity", 0.45);
/** Objects of one class in different colors. */
export const colorByObject = persisted("color-by-object", false);
/** How the image is shown; the model sees the image itself. 1: unchanged. */
export const brightness = signal(1);
export const contrast = signal(1);
/** The next click on another object joins it to the selected one. */
export const joining = signal(false);
export const firstStepsOff = persisted("first-steps-off", false);
export const newObjectPerClick = persisted("one-per-click", false);
export const previewOn = persisted("hover-preview", false);
export const activeClass = signal<string>("");
/** Null: the base model. */
export const activeAdapter = signal<string | null>(null);
/** Last choice in each project; "" is the base model. */
export const adapterByProject = persisted<Record<string, string>>("adapters", {});
export const hiddenIds = signal<ReadonlySet<string>>(new Set());
export const masksHidden = signal(false);
export const view = signal<View>({ scale: 1, x: 0, y: 0 });
export const polygonDraft = signal<Point[] | null>(null);
export const editedPolygons = signal<{ object: string; polygons: Polygon[] } | null>(null);
/** `version` changes with each segment, as the mask is painted in place. */
export const stroke = signal<{ object: string; mask: Mask; version: number } | null>(null);
export const dragBox = signal<{ from: Point; to: Point } | null>(null);
export const pointer = signal<Point | null>(null);
export const crosshair = signal<Point | null>(null);
export const theme = persisted<"auto" | "light" | "dark">("theme", "auto");

export function setTool(next: Tool): void {
  polygonDraft.value = null;
  tool.value = next;
}

export function chooseAdapter(name: string | null): void {
  activeAdapter.value = name;
  const key = project.value?.name ?? "";
  adapterByProject.value = { ...adapterByProject.value, [key]: name ?? "" };
}

/** Whether there is a class for a new object; if not, shows a notice. */
export function requireClass(): boolean {
  if (activeClass.value) return true;
  notify("Add a class first, in the panel on the right.");
  return false;
}

// dialogs and messages
export type Dialog = "help" | "import" | "find" | "accept-many" | "base" | "export" | "before-after" | "conflict" | null;
export const dialog = signal<Dialog>(null);
/** An object that was chosen as a reference of a search, with its class. */
export interface ChosenReference extends FindReference {
  imageName: string;
  class: string;
}
/** Objects that were chosen as references, also of other images than the open one. */
export const chosenReferences = signal<readonly ChosenReference[]>([]);
export const beforeAfterAdapter = signal<string | null>(null);
export const openPanel = signal<"left" | "right" | null>(null);

export function showBeforeAfter(adapter: string): void {
  beforeAfterAdapter.value = adapter;
  dialog.value = "before-after";
}

export interface Toast {
  id: number;
  text: string;
  kind: "info" | "good" | "bad";
}
export const toasts = signal<Toast[]>([]);
let lastToastId = 0;

/** Shows a message for a few seconds; the same text is not stacked. */
export function notify(text: string, kind: Toast["kind"] = "info"): void {
  const id = ++lastToastId;
  toasts.value = [...toasts.value.filter((one) => one.text !== text), { id, text, kind }].slice(-3);
  setTimeout(() => dismiss(id), kind === "bad" ? 9000 : 4500);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

export function notifyError(error: unknown): void {
  notify(error instanceof Error ? error.message : String(error), "bad");
}

/** Far apart in lightness and hue. */
const OBJECT_COLORS = [
  "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#42d4f4", "#f032e6", "#bfef45", "#fabed4", "#469990", "#9a6324",
  "#ffe119", "#911eb4",
];

/** The color of an object: that of its class, or its own. */
export function objectColor(object: AnnotatedObject): string {
  if (!colorByObject.value) return classColor(object.class);
  const index = objects.value.findIndex((one) => one.id === object.id);
  return OBJECT_COLORS[Math.max(index, 0) % OBJECT_COLORS.length]!;
}

export const classColor = (name: string): string =>
  project.value?.classes.find((one) => one.name === name)?.color ?? "#8a8f98";

/** A signal kept in localStorage; works without, where the browser denies storage. */
function persisted<T>(name: string, initial: T) {
  const key = `samtailor/setting/${name}`;
  const result = signal<T>(initial);
  try {
    const text = localStorage.getItem(key);
    const stored = text === null ? null : (JSON.parse(text) as T);
    if (stored !== null && typeof stored === typeof initial) result.value = stored;
  } catch {
    // start with the default
  }
  effect(() => {
    const text = JSON.stringify(result.value);
    try {
      localStorage.setItem(key, text);
    } catch {
      // the setting lasts as long as the page
    }
  });
  return result;
}
