/** What the server and the page say to each other, as the server's models have it. */

export interface Rle {
  /** Height, width. */
  size: [number, number];
  /** COCO's compressed runs, column by column. */
  counts: string;
}

export type Point = [number, number];
export type Box = [number, number, number, number];
export type PictureState = "open" | "proposed" | "accepted" | "failed";
export type Source = "click" | "box" | "brush" | "polygon" | "auto";

export interface ClassInfo {
  name: string;
  color: string;
}

/** Pixels of the picture, upright; labels 1 = object, 0 = not. */
export interface Prompts {
  points: Point[];
  labels: number[];
  box: Box | null;
}

export interface ObjectRecord {
  id: string;
  class: string;
  rle: Rle;
  source: Source;
  adapter: string | null;
  score: number | null;
  uncertainty: number | null;
  clicks: number;
  prompts: Prompts | null;
}

export interface Annotations {
  revision: number;
  state: PictureState;
  objects: ObjectRecord[];
}

export interface Picture {
  id: string;
  name: string;
  width: number;
  height: number;
  state: PictureState;
  objects: number;
  uncertainty: number | null;
  error: string | null;
}

export interface Adapter {
  name: string;
  classes: string[];
  method: string;
  /** Whether it finds objects without prompts. */
  auto: boolean;
  promptless: boolean;
  /** Fitted here, so that it can be deleted here. */
  own?: boolean;
  /** mIoU on held-out pictures: of clicks before and after, and of what it finds without one. */
  figures: { start_miou: number | null; held_out_miou: number | null; held_out_region_miou?: number | null } | null;
}

export interface Job {
  id: string;
  kind: "fit" | "label";
  state: "running" | "done" | "failed" | "stopped";
  done: number;
  total: number;
  stage: string;
  loss: number | null;
  miou: number | null;
  start_miou: number | null;
  /** Of what a fitted adapter finds without a prompt. */
  alone_miou?: number | null;
  seconds_left: number | null;
  images_per_second: number | null;
  message: string | null;
  adapter: string | null;
}

export interface Project {
  name: string;
  /** On the server's disk. */
  folder?: string;
  base: string;
  classes: ClassInfo[];
  pictures: number;
  counts: Record<PictureState, number>;
  minimum: number;
  adapters: Adapter[];
  job: Job | null;
  formats: string[];
  methods?: string[];
  /** Fits that were stopped or killed and can go on. */
  unfinished?: string[];
  broken_adapters?: { name: string; error: string }[];
  version: string;
}

export interface Candidate {
  rle: Rle;
  predicted_iou: number;
  /** From a closer look at a small object. */
  closer?: boolean;
  box: Box;
  area: number;
}

export interface Comparison {
  adapter: string | null;
  mask: { rle: Rle; predicted_iou: number };
  milliseconds: number;
}

export interface IouMap {
  grid: number[][];
  x: number[];
  y: number[];
}

export interface Polygon {
  outer: Point[];
  holes: Point[][];
}

export interface GalleryItem {
  id: string;
  name: string;
  class: string;
  object: string;
  before_iou: number;
  after_iou: number;
  truth: Rle;
  before: Rle;
  after: Rle;
}

export interface Export {
  name: string;
  files: number;
  pictures: number;
  objects: number;
  url: string;
  folder: string;
}
