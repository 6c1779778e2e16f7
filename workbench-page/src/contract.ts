/**
 * The server's JSON and URLs. Field names of the server appear here and in `mock/` only: when one changes, the
 * compiler points to every place that reads it.
 */

import type {
  Adapter,
  Annotations,
  BaseInfo,
  ClassInfo,
  ComparedMask,
  ExportOptions,
  ExportResult,
  FindOptions,
  FitOptions,
  FoundReport,
  HeldOutObject,
  ImageInfo,
  ImportOptions,
  ImportReport,
  ImageState,
  Job,
  MaskCandidate,
  Box,
  ObjectRecord,
  Project,
  Prompts,
  Refined,
  Rle,
  Tally,
} from "./types";

/** First segments of the paths below /api. */
export const ROUTES = {
  project: "project",
  classes: "classes",
  images: "images",
  adapters: "adapters",
  jobs: "jobs",
  exports: "export",
  events: "events",
  hidden: "hidden",
  dataFormat: "data-format",
  accept: "accept",
  bases: "bases",
  base: "base",
} as const;

/** Last segments of the paths below an image. */
export const IMAGE_ROUTES = {
  image: "image",
  thumbnail: "thumbnail",
  encode: "encode",
  annotations: "annotations",
  segment: "segment",
  compare: "compare",
  iouMap: "iou-map",
  auto: "auto",
  clean: "clean",
  sheet: "sheet",
  toPolygons: "polygon",
  rasterize: "rasterize",
} as const;

/** Names of the server-sent events. */
export const EVENTS = { job: "job", project: "project", image: "image" } as const;

export interface WireAdapter {
  name: string;
  classes: string[];
  method: string;
  auto: boolean;
  promptless: boolean;
  deletable?: boolean;
  figures: {
    start_miou: number | null;
    held_out_miou: number | null;
    held_out_region_miou?: number | null;
  } | null;
  /** 95 % interval of `held_out_miou`. */
  interval?: [number, number] | null;
  held_out_images?: number | null;
  held_out_masks?: number | null;
  cross_validated?: Adapter["crossValidated"];
  comparison?: string[];
  replaces?: boolean | null;
}

export interface WireJob {
  id: string;
  kind: Job["kind"];
  state: Job["state"];
  done: number;
  total: number;
  stage: string;
  loss: number | null;
  miou: number | null;
  start_miou: number | null;
  automatic_miou?: number | null;
  held_out_images?: number | null;
  seconds_left: number | null;
  images_per_second: number | null;
  message: string | null;
  adapter: string | null;
  held_out_objects?: number | null;
  interval?: [number, number] | null;
  comparison?: string[];
  replaces?: boolean | null;
  next_images?: string[];
  part?: string | null;
  keeping?: boolean;
  /** Of an import or a search. */
  report?: WireImportReport | FoundReport | null;
}

interface WireTally {
  found: number;
  read: number;
  left_out: Tally["leftOut"];
}

export interface WireImportReport extends Omit<ImportReport, "layout" | "images" | "annotations"> {
  account: { images: WireTally; annotations: WireTally; layout: string[] };
}

export interface WireProject {
  name: string;
  folder?: string;
  base: string;
  next_base?: string | null;
  classes: ClassInfo[];
  images: number;
  counts: Record<ImageState, number>;
  min_images: number;
  good_images?: number;
  adapters: WireAdapter[];
  job: WireJob | null;
  formats: string[];
  methods?: string[];
  rle_formats?: string[];
  layouts?: string[];
  hidden?: number;
  class_objects?: Record<string, number>;
  unfinished?: string[];
  broken_adapters?: { name: string; error: string }[];
  version: string;
}

export interface WireBase extends Omit<BaseInfo, "measured"> {
  measured: {
    parameters: number;
    size: number;
    encode_seconds: number;
    click_seconds: number;
    device: string;
  } | null;
}

/** Servers of an earlier version leave some fields out. */
export type WireImage = Omit<ImageInfo, "match" | "labels" | "page" | "pages"> &
  Partial<Pick<ImageInfo, "match" | "labels" | "page" | "pages">>;

export interface WireCandidate {
  rle: Rle;
  predicted_iou: number;
  zoomed?: boolean;
  cropped?: boolean;
  area: number;
  answer?: string;
}

export interface WireCandidates {
  masks: WireCandidate[];
}

export interface WireComparison {
  results: { adapter: string | null; mask: { rle: Rle; predicted_iou: number } }[];
}

export interface WireGallery {
  images: {
    id: string;
    name: string;
    class: string;
    object: string;
    before_iou: number;
    after_iou: number;
    truth: Rle;
    before: Rle;
    after: Rle;
  }[];
}

export interface WireExport {
  name: string;
  files: number;
  images: number;
  objects: number;
  url: string;
  folder: string;
  notes?: string[];
  loading?: string;
}

// what the page sends

export interface SegmentOptions {
  /** Class of the object, by which an adapter of several classes differs. */
  class: string | null;
  zoomFirst: boolean;
  /** What is on the screen; null: the whole image. */
  view: Box | null;
  /** The mask that the prompts refine; null: they make a new one. */
  refined: Refined | null;
}

export const segmentBody = (adapter: string | null, prompts: Prompts, { class: name, zoomFirst, view, refined }: SegmentOptions) => ({
  adapter,
  class: name,
  ...prompts,
  zoom: zoomFirst, // false: the zoomed mask comes second
  view,
  refine: refined?.rle ?? null,
  answer: refined?.answer ?? null,
});
export type WireSegment = ReturnType<typeof segmentBody>;

export const compareBody = (adapters: (string | null)[], name: string | null, prompts: Prompts, view: Box | null) => ({
  adapters,
  class: name,
  ...prompts,
  view,
});
export type CleanUp = "fill" | "crumbs" | "smooth" | "split";
export const cleanBody = (rle: Rle, operation: CleanUp) => ({ rle, operation });
export const acceptBody = (ids: string[]) => ({ ids });
export const findBody = (options: FindOptions) => options;
export const importBody = (options: ImportOptions) => options;
export const autoBody = (adapter: string, minScore?: number) => ({ adapter, threshold: minScore });
export const fitBody = (options: FitOptions) => options;
export const classesBody = (
  classes: ClassInfo[],
  renamed: Record<string, string>,
  moved: Record<string, string>,
) => ({ classes, renamed, moved });
export const exportBody = (options: ExportOptions) => options;

export interface AnnotationsBody {
  revision: number;
  state: "open" | "accepted";
  objects: ObjectRecord[];
}
export type WireAnnotations = Annotations;

// what the page receives

export const toAdapter = ({
  auto,
  deletable,
  figures,
  interval,
  held_out_images,
  held_out_masks,
  cross_validated,
  comparison,
  replaces,
  ...rest
}: WireAdapter): Adapter => ({
  ...rest,
  automatic: auto,
  heldOutImages: held_out_images ?? null,
  heldOutObjects: held_out_masks ?? null,
  deletable: deletable !== false,
  comparison: comparison ?? [],
  crossValidated: cross_validated ?? null,
  replaces: replaces ?? null,
  metrics: figures && {
    baseMiou: figures.start_miou,
    clickMiou: figures.held_out_miou,
    automaticMiou: figures.held_out_region_miou ?? null,
    interval: interval ?? null,
  },
});

export const toBase = ({ measured, ...rest }: WireBase): BaseInfo => ({
  ...rest,
  measured: measured && {
    parameters: measured.parameters,
    size: measured.size,
    encodeSeconds: measured.encode_seconds,
    clickSeconds: measured.click_seconds,
    device: measured.device,
  },
});

const toTally = ({ found, read, left_out }: WireTally): Tally => ({ found, read, leftOut: left_out });

const toImportReport = ({ account, ...rest }: WireImportReport): ImportReport => ({
  ...rest,
  layout: account.layout,
  images: toTally(account.images),
  annotations: toTally(account.annotations),
});

export const toJob = (wire: WireJob): Job => ({
  id: wire.id,
  kind: wire.kind,
  state: wire.state,
  done: wire.done,
  total: wire.total,
  stage: wire.stage,
  part: wire.part ?? null,
  keeping: wire.keeping ?? false,
  loss: wire.loss,
  clickMiou: wire.miou,
  baseMiou: wire.start_miou,
  automaticMiou: wire.automatic_miou ?? null,
  heldOutImages: wire.held_out_images ?? null,
  secondsLeft: wire.seconds_left,
  imagesPerSecond: wire.images_per_second,
  message: wire.message,
  adapter: wire.adapter,
  heldOutObjects: wire.held_out_objects ?? null,
  interval: wire.interval ?? null,
  comparison: wire.comparison ?? [],
  replaces: wire.replaces ?? null,
  nextImages: wire.next_images ?? [],
  report: wire.report && "account" in wire.report ? toImportReport(wire.report) : null,
  found: wire.report && "nothing" in wire.report ? wire.report : null,
});

export const toImage = (wire: WireImage): ImageInfo => ({
  ...wire,
  match: wire.match ?? null,
  labels: wire.labels ?? {},
  page: wire.page ?? 1,
  pages: wire.pages ?? 1,
});

export const toProject = (wire: WireProject): Project => ({
  name: wire.name,
  folder: wire.folder ?? null,
  base: wire.base,
  nextBase: wire.next_base ?? null,
  classes: wire.classes,
  minImages: wire.min_images,
  goodImages: wire.good_images ?? wire.min_images,
  adapters: wire.adapters.map(toAdapter),
  brokenAdapters: wire.broken_adapters ?? [],
  unfinishedFits: wire.unfinished ?? [],
  methods: wire.methods ?? [],
  formats: wire.formats,
  rleFormats: wire.rle_formats ?? [],
  layouts: wire.layouts ?? [],
  hidden: wire.hidden ?? 0,
  classObjects: wire.class_objects ?? {},
  job: wire.job && toJob(wire.job),
  version: wire.version,
});

export const toCandidates = ({ masks }: WireCandidates): MaskCandidate[] =>
  masks.map(({ rle, predicted_iou, zoomed, cropped, area, answer }) => ({
    rle,
    predictedIou: predicted_iou,
    zoomed: zoomed ?? false,
    cropped: cropped ?? false,
    area,
    answer: answer ?? null,
  }));

export const toComparedMasks = ({ results }: WireComparison): ComparedMask[] =>
  results.map(({ adapter, mask }) => ({ adapter, rle: mask.rle, predictedIou: mask.predicted_iou }));

export const toHeldOutObjects = ({ images }: WireGallery): HeldOutObject[] =>
  images.map((wire) => ({
    imageId: wire.id,
    imageName: wire.name,
    class: wire.class,
    object: wire.object,
    baseIou: wire.before_iou,
    adapterIou: wire.after_iou,
    truth: wire.truth,
    baseMask: wire.before,
    adapterMask: wire.after,
  }));

export const toExportResult = (wire: WireExport): ExportResult => ({
  ...wire,
  notes: wire.notes ?? [],
  loading: wire.loading ?? "",
});
