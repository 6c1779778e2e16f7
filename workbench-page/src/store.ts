/** What the page knows, as signals. Written by the verbs (work.ts, prompting.ts, …), read by the parts of the page. */

import { computed, effect, signal } from "@preact/signals";

import type { Candidate, Comparison, IouMap, Job, Picture, PictureState, Point, Polygon, Project, Prompts, Source } from "./contract";
import type { Mask } from "./mask";
import { type Filter, filtered, ordered } from "./queue";
import type { SaveState } from "./saver";
import type { View } from "./view";

/** One object as the page holds it: as the contract has it, with the mask unpacked. */
export interface Item {
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

export type Tool = "smart" | "brush" | "eraser" | "polygon" | "select";

// the project
export const project = signal<Project | null>(null);
export const pictures = signal<Picture[]>([]);
export const job = signal<Job | null>(null);
export const losses = signal<{ done: number; loss: number }[]>([]);
export const fatal = signal<string | null>(null);
export const connected = signal(true);

// the list
export const filter = signal<Filter>("all");
export const search = signal("");
/** How many pictures are in each state; from the rows, which are told at every change. */
export const counts = computed(() => {
  const found: Record<PictureState, number> = { open: 0, proposed: 0, accepted: 0, failed: 0 };
  for (const one of pictures.value) found[one.state] += 1;
  return found;
});
export const shown = computed(() => filtered(ordered(pictures.value), filter.value, search.value));

// the open picture
export const openId = signal<string | null>(null);
export const image = signal<HTMLImageElement | null>(null);
export const opened = signal(false);
export const encoding = signal(false);
export const state = signal<PictureState>("open");
export const items = signal<readonly Item[]>([]);
export const selectedId = signal<string | null>(null);
export const canUndo = signal(false);
export const canRedo = signal(false);
export const saving = signal<{ state: SaveState; message: string | null }>({ state: "saved", message: null });
export const conflict = signal<string | null>(null);
export const picture = computed(() => pictures.value.find((one) => one.id === openId.value) ?? null);
export const selected = computed(() => items.value.find((one) => one.id === selectedId.value) ?? null);

// prompting
export const asking = signal<{ object: string; prompts: Prompts } | null>(null);
/** Polygons whose masks are under way. */
export const shaping = signal(0);
/** Whether a mask is under way that the open picture will get. */
export const awaiting = computed(() => asking.value !== null || shaping.value > 0);
export const candidates = signal<{ object: string; masks: Candidate[]; index: number } | null>(null);
export const milliseconds = signal<number | null>(null);
export const comparing = signal(false);
export const comparison = signal<Comparison[] | null>(null);
export const mapping = signal(false);
export const map = signal<IouMap | null>(null);
export const preview = signal<Mask | null>(null);

// how the user works
export const tool = signal<Tool>("smart");
export const panning = signal(false);
/** Width of the brush as a share of the picture's shorter side, so that it suits small and large pictures. */
export const brushShare = kept("brush-share", 0.02);
const shorterSide = computed(() => (picture.value ? Math.min(picture.value.width, picture.value.height) : 1000));
/** Whether the closer look at a small object is offered first: as it was taken last. */
export const closerFirst = kept("closer-first", false);

/** Width of the brush in pixels of the open picture. */
export const brush = computed(() => brushWidth(brushShare.value * shorterSide.value));
export const BRUSH = { least: 2, most: 400 };

/** Sets the width of the brush, in pixels of the open picture. */
export function setBrush(pixels: number): void {
  brushShare.value = brushWidth(pixels) / shorterSide.value;
}

function brushWidth(pixels: number): number {
  return Math.min(BRUSH.most, Math.max(BRUSH.least, Math.round(pixels)));
}
export const opacity = kept("opacity", 0.45);
export const onePerClick = kept("one-per-click", false);
export const hovering = kept("hover-preview", false);
export const activeClass = signal<string>("");
export const adapter = signal<string | null>(null);
/** The adapter chosen last, by project; "" stands for the base. */
export const chosenAdapters = kept<Record<string, string>>("adapters", {});
export const hidden = signal<ReadonlySet<string>>(new Set());
export const allHidden = signal(false);
export const view = signal<View>({ scale: 1, x: 0, y: 0 });
export const polygonDraft = signal<Point[] | null>(null);
export const vertices = signal<{ object: string; polygons: Polygon[] } | null>(null);
export const strokeMask = signal<{ object: string; mask: Mask; stamp: number } | null>(null);
export const dragBox = signal<{ from: Point; to: Point } | null>(null);
export const pointer = signal<Point | null>(null);
export const crosshair = signal<Point | null>(null);
export const theme = kept<"auto" | "light" | "dark">("theme", "auto");

// what lies over the page
/** Chooses the model that answers, and remembers it. */
export function choose(name: string | null): void {
  adapter.value = name;
  const key = project.value?.name ?? "";
  chosenAdapters.value = { ...chosenAdapters.value, [key]: name ?? "" };
}

export type Dialog = "help" | "export" | "gallery" | "conflict" | null;
export const dialog = signal<Dialog>(null);
export const galleryOf = signal<string | null>(null);
export const panes = signal<{ left: boolean; right: boolean }>({ left: false, right: false });

export interface Toast {
  id: number;
  text: string;
  kind: "info" | "good" | "bad";
}
export const toasts = signal<Toast[]>([]);
let count = 0;

/** Says something for a few seconds; the same words are not stacked. */
export function say(text: string, kind: Toast["kind"] = "info"): void {
  const id = ++count;
  toasts.value = [...toasts.value.filter((one) => one.text !== text), { id, text, kind }].slice(-3);
  setTimeout(() => dismiss(id), kind === "bad" ? 9000 : 4500);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

/** Says what went wrong, in the server's words where it spoke. */
export function complain(error: unknown): void {
  say(error instanceof Error ? error.message : String(error), "bad");
}

export const colourOf = (name: string): string =>
  project.value?.classes.find((one) => one.name === name)?.color ?? "#8a8f98";

/** A setting that this browser keeps. */
function kept<T>(name: string, start: T) {
  const key = `samtailor/setting/${name}`;
  let first = start;
  try {
    const text = localStorage.getItem(key);
    const found = text === null ? null : (JSON.parse(text) as T);
    if (found !== null && typeof found === typeof start) first = found;
  } catch {
    // nothing kept
  }
  const made = signal<T>(first);
  effect(() => {
    const text = JSON.stringify(made.value);
    try {
      localStorage.setItem(key, text);
    } catch {
      // not kept, then
    }
  });
  return made;
}
