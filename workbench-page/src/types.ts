/** The page's own types. `contract.ts` converts them to and from the JSON of the server. */

export interface Rle {
  /** Height, width. */
  size: [number, number];
  /** COCO's compressed run lengths, column by column. */
  counts: string;
}

export type Point = [number, number];
/** Left, top, right, bottom. */
export type Box = [number, number, number, number];
export type ImageState = "open" | "proposed" | "accepted" | "failed";
export type Source = "click" | "box" | "brush" | "polygon" | "auto" | "find" | "import";

export interface ClassInfo {
  name: string;
  color: string;
}

/** In pixels of the upright image; labels: 1 = foreground, 0 = background. */
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
  state: ImageState;
  objects: ObjectRecord[];
}

export interface ImageInfo {
  id: string;
  name: string;
  width: number;
  height: number;
  state: ImageState;
  /** Number of objects. */
  objects: number;
  uncertainty: number | null;
  /** Highest score of what a search has found in a proposed image. */
  match: number | null;
  /** Number of objects of each class. */
  labels: Record<string, number>;
  /** Of an image stack, from 1. */
  page: number;
  pages: number;
  /** Why the image cannot be read. */
  error: string | null;
}

export interface Adapter {
  name: string;
  classes: string[];
  method: string;
  /** Finds objects without prompts, so it can label images. */
  automatic: boolean;
  /** Ignores clicks: there is nothing to prompt. */
  promptless: boolean;
  /** Fitted in this project. */
  deletable: boolean;
  /** Held-out mIoU and the 95 % interval of `clickMiou`; null if nothing was held out, or too few objects to say. */
  metrics: {
    baseMiou: number | null;
    clickMiou: number | null;
    automaticMiou: number | null;
    interval: [number, number] | null;
  } | null;
  /** Number of held-out images and objects; null if unknown. */
  heldOutImages: number | null;
  heldOutObjects: number | null;
  /** Scores by cross-validation, of an adapter that was fitted without held-out images; null for others. */
  crossValidated: { dice: number | null; click: number | null; base: number | null; objects: number } | null;
  comparison: string[];
  replaces: boolean | null;
}

export interface Job {
  id: string;
  kind: "fit" | "label" | "find" | "import" | "measure";
  state: "running" | "done" | "failed" | "stopped";
  done: number;
  total: number;
  /** Name of the stage at the server; methods have stages of their own. */
  stage: string;
  /** What of the stage is in progress, such as a class. */
  part: string | null;
  /** The best result so far was requested. */
  keeping: boolean;
  loss: number | null;
  /** Held-out mIoU of clicks: the adapter's, and the base model's. */
  clickMiou: number | null;
  baseMiou: number | null;
  /** Held-out mIoU without clicks. */
  automaticMiou: number | null;
  /** Number of images behind these scores. */
  heldOutImages: number | null;
  secondsLeft: number | null;
  imagesPerSecond: number | null;
  message: string | null;
  adapter: string | null;
  /** Number of objects behind these scores; below 5 there are no scores. */
  heldOutObjects: number | null;
  /** 95 % interval of `clickMiou`. */
  interval: [number, number] | null;
  /** Sentences about a finished fit: what answers prompts, and whether it is better than the adapter before it. */
  comparison: string[];
  /** Whether the new adapter replaces the one before it; null if there was none, or nothing to compare on. */
  replaces: boolean | null;
  /** Ids of the images to mark next, of a finished fit that suggests some. */
  nextImages: string[];
  /** Of a finished import. */
  report: ImportReport | null;
  /** Of a finished search. */
  found: FoundReport | null;
}

/** What a search has found. */
export interface FoundReport {
  images: number;
  objects: number;
  /** Images in which nothing is alike. */
  nothing: number;
  /** The objects of the image that alone was searched; they are not saved. */
  here: { image: string; objects: ObjectRecord[] } | null;
}

/** An image that shows what to find, or what not to find. */
export interface FindReference {
  image: string;
  /** Null: the objects of the image. */
  rle: Rle | null;
  alike: boolean;
}

export interface FindOptions {
  class: string;
  references: FindReference[];
  threshold: number | null;
  /** Search this image alone. */
  here: string | null;
}

/** What a data set contains, and what became of it. */
export interface ImportReport {
  data: string;
  format: string;
  /** Nothing was saved. */
  dry: boolean;
  layout: string[];
  images: Tally;
  annotations: Tally;
  /** What became of the images that were read. */
  outcomes: { outcome: string; saved: boolean; images: number; objects: number; example: string }[];
  renamed: Record<string, string>;
  crowds: number;
  hidden: number;
}

export interface Tally {
  found: number;
  read: number;
  leftOut: { kind: string; count: number; example: string }[];
}

export interface ImportOptions {
  data: string;
  format: string | null;
  options: Record<string, string>;
  replace: boolean;
  dry: boolean;
}

export interface Project {
  name: string;
  /** On the server's disk. */
  folder: string | null;
  base: string;
  /** The base model from the next start on; null: the present one. */
  nextBase: string | null;
  classes: ClassInfo[];
  /** Accepted images that a fit needs, and from which on a first fit is useful. */
  minImages: number;
  goodImages: number;
  adapters: Adapter[];
  brokenAdapters: { name: string; error: string }[];
  /** Interrupted fits that can be resumed. */
  unfinishedFits: string[];
  methods: string[];
  formats: string[];
  /** Formats that can hold masks as run lengths instead of polygons. */
  rleFormats: string[];
  /** Layouts of data sets that can be imported. */
  layouts: string[];
  /** Files in the folder that are not listed as images. */
  hidden: number;
  /** Number of objects of each class, in all images. */
  classObjects: Record<string, number>;
  job: Job | null;
  version: string;
}

export interface BaseInfo {
  name: string;
  hint: string;
  current: boolean;
  next: boolean;
  measured: { parameters: number; size: number; encodeSeconds: number; clickSeconds: number; device: string } | null;
}

export interface MaskCandidate {
  rle: Rle;
  predictedIou: number;
  /** Predicted from an enlarged crop around a small object. */
  zoomed: boolean;
  /** Predicted from a crop of what was on the screen. */
  cropped: boolean;
  area: number;
  /** Name of the mask at the server, for a click that refines it. */
  answer: string | null;
}

/** The mask that a prompt refines. */
export interface Refined {
  rle: Rle;
  answer: string | null;
}

export interface ComparedMask {
  /** Null: the base model. */
  adapter: string | null;
  rle: Rle;
  predictedIou: number;
}

/** IoU with an object for a click at each point of a grid. */
export interface IouMap {
  grid: number[][];
  x: number[];
  y: number[];
}

export interface Polygon {
  outer: Point[];
  holes: Point[][];
}

/** A held-out object before and after a fit. */
export interface HeldOutObject {
  imageId: string;
  imageName: string;
  class: string;
  object: string;
  baseIou: number;
  adapterIou: number;
  truth: Rle;
  baseMask: Rle;
  adapterMask: Rle;
}

export interface ExportResult {
  name: string;
  files: number;
  images: number;
  objects: number;
  url: string;
  folder: string;
  notes: string[];
  /** How another program loads it. */
  loading: string;
}

export interface ExportOptions {
  format: string;
  /** "open": drafts. */
  states: ImageState[];
  /** Null: all. */
  classes: string[] | null;
  /** Share of the images for validation. */
  val: number;
  /** Options of the format. */
  options: Record<string, boolean>;
}

export interface FitOptions {
  name?: string;
  method?: string;
  /** Time that the fit may take: 30s, 2m, 10m, 1h. */
  budget?: string;
  steps?: number;
  seed?: number;
}
