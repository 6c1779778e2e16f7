/** Requests to the server, one function each. All are same-origin; an access token, if any, is a cookie. */

import * as contract from "./contract";
import { EVENTS, IMAGE_ROUTES, ROUTES } from "./contract";
import type {
  Annotations,
  BaseInfo,
  Box,
  ClassInfo,
  ComparedMask,
  ExportOptions,
  ExportResult,
  FindOptions,
  FitOptions,
  HeldOutObject,
  ImageInfo,
  ImportOptions,
  IouMap,
  Job,
  MaskCandidate,
  ObjectRecord,
  Polygon,
  Project,
  Prompts,
  Rle,
} from "./types";

/** A response with an error status; `message` is the text of the server. */
export class ServerError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** No response: the server has stopped or the connection is down. */
export class Unreachable extends Error {}

interface RequestOptions {
  method?: string;
  body?: unknown;
  signal?: AbortSignal;
  /** Lets the request outlive the page. */
  keepalive?: boolean;
}

async function request<T>(path: string, { method = "GET", body, signal, keepalive }: RequestOptions = {}): Promise<T> {
  const init: RequestInit = { method, signal, keepalive, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(`/api/${path}`, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable("Cannot reach the server. Is `samtailor ui` still running?");
  }
  const json = await response.json().catch(() => null);
  if (response.ok) return json as T;
  const retryAfter = Number(response.headers.get("Retry-After"));
  throw new ServerError(response.status, errorText(json, response.status), retryAfter > 0 ? retryAfter : null);
}

const post = <T>(path: string, body: unknown, signal?: AbortSignal) => request<T>(path, { method: "POST", body, signal });

function errorText(json: unknown, status: number): string {
  if (json && typeof json === "object") {
    const { error, detail } = json as { error?: unknown; detail?: unknown };
    if (typeof error === "string") return error;
    if (typeof detail === "string") return detail;
  }
  if (status === 401) return "This page needs an access token. Open the full link that `samtailor ui` printed.";
  return `The server responded with status ${status}.`;
}

const imagePath = (id: string, route: keyof typeof IMAGE_ROUTES) =>
  `${ROUTES.images}/${encodeURIComponent(id)}/${IMAGE_ROUTES[route]}`;
const adapterPath = (name: string) => `${ROUTES.adapters}/${encodeURIComponent(name)}`;

export const imageUrl = (id: string) => `/api/${imagePath(id, "image")}`;
export const thumbnailUrl = (id: string) => `/api/${imagePath(id, "thumbnail")}`;

export const getProject = async (): Promise<Project> =>
  contract.toProject(await request<contract.WireProject>(ROUTES.project));

/** `renamed`: old class name to new class name; `moved`: removed class to the class that its objects get. */
export const putClasses = async (
  classes: ClassInfo[],
  renamed: Record<string, string> = {},
  moved: Record<string, string> = {},
): Promise<Project> => {
  const body = contract.classesBody(classes, renamed, moved);
  return contract.toProject(await request<contract.WireProject>(ROUTES.classes, { method: "PUT", body }));
};

export const getImages = async (): Promise<ImageInfo[]> =>
  (await request<contract.WireImage[]>(ROUTES.images)).map(contract.toImage);

/** Encodes an image, and what is on the screen of it, before the first click. */
export const encode = (id: string, adapter: string | null = null, view: Box | null = null): Promise<unknown> =>
  post(imagePath(id, "encode"), { adapter, view });

export const getAnnotations = (id: string): Promise<Annotations> =>
  request<contract.WireAnnotations>(imagePath(id, "annotations"));

export const putAnnotations = (
  id: string,
  body: contract.AnnotationsBody,
  keepalive = false,
): Promise<{ revision: number }> => request(imagePath(id, "annotations"), { method: "PUT", body, keepalive });

/** Masks for a prompt, best first. `zoomFirst`: masks of the zoomed tile of a small object come first, else second. */
export const segment = async (
  id: string,
  adapter: string | null,
  prompts: Prompts,
  options: contract.SegmentOptions,
  signal?: AbortSignal,
): Promise<MaskCandidate[]> => {
  const body = contract.segmentBody(adapter, prompts, options);
  return contract.toCandidates(await post<contract.WireCandidates>(imagePath(id, "segment"), body, signal));
};

export const compare = async (
  id: string,
  adapters: (string | null)[],
  name: string | null,
  prompts: Prompts,
  view: Box | null,
  signal?: AbortSignal,
): Promise<ComparedMask[]> => {
  const body = contract.compareBody(adapters, name, prompts, view);
  return contract.toComparedMasks(await post<contract.WireComparison>(imagePath(id, "compare"), body, signal));
};

export const iouMap = (
  id: string,
  object: string,
  adapter: string | null,
  signal?: AbortSignal,
  grid = 16,
): Promise<IouMap> => {
  const query = new URLSearchParams({ object, grid: String(grid) });
  if (adapter !== null) query.set("adapter", adapter);
  return request(`${imagePath(id, "iouMap")}?${query}`, { signal });
};

/** Objects that an adapter finds on an image without prompts; not saved. */
export const findObjects = async (id: string, adapter: string): Promise<ObjectRecord[]> =>
  (await post<{ objects: ObjectRecord[] }>(imagePath(id, "auto"), contract.autoBody(adapter))).objects;

/** A mask after an operation; several for "split". */
export const cleanUp = async (id: string, rle: Rle, operation: contract.CleanUp): Promise<Rle[]> =>
  (await post<{ masks: Rle[] }>(imagePath(id, "clean"), contract.cleanBody(rle, operation))).masks;

/** The image with its objects drawn on it. `version` changes with the objects, so that no old one is shown. */
export const sheetUrl = (id: string, version: string) => `/api/${imagePath(id, "sheet")}?v=${encodeURIComponent(version)}`;

export const getBases = async (): Promise<BaseInfo[]> =>
  (await request<contract.WireBase[]>(ROUTES.bases)).map(contract.toBase);

/** Loads a base model and measures its speed, as a job. */
export const measureBase = async (name: string): Promise<Job> =>
  contract.toJob(await post<contract.WireJob>(`${ROUTES.jobs}/measure`, { name }));

/** Chooses the base model for the next start. */
export const chooseBase = async (name: string): Promise<Project> =>
  contract.toProject(await request<contract.WireProject>(ROUTES.base, { method: "PUT", body: { name } }));

/** Accepts proposed images. `refused`: the reason for each image that was not accepted. */
export const acceptMany = (ids: string[]): Promise<{ accepted: string[]; refused: Record<string, string> }> =>
  post(ROUTES.accept, contract.acceptBody(ids));

/** Takes back the last `acceptMany`. */
export const takeBackAcceptance = async (): Promise<string[]> =>
  (await request<{ proposed: string[] }>(ROUTES.accept, { method: "DELETE" })).proposed;

export const toPolygons = async (id: string, rle: Rle, tolerance: number): Promise<Polygon[]> =>
  (await post<{ polygons: Polygon[] }>(imagePath(id, "toPolygons"), { rle, tolerance })).polygons;

export const rasterize = async (id: string, polygons: Polygon[], signal?: AbortSignal): Promise<Rle> =>
  (await post<{ rle: Rle }>(imagePath(id, "rasterize"), { polygons }, signal)).rle;

const toJobOrNull = (wire: contract.WireJob | null): Job | null => wire && contract.toJob(wire);

export const startFit = async (options: FitOptions): Promise<Job> =>
  contract.toJob(await post<contract.WireJob>(`${ROUTES.jobs}/fit`, contract.fitBody(options)));

export const startLabeling = async (adapter: string, minScore?: number): Promise<Job> =>
  contract.toJob(await post<contract.WireJob>(`${ROUTES.jobs}/label`, contract.autoBody(adapter, minScore)));

/** Searches images for objects like those of references, as a job. */
export const startSearch = async (options: FindOptions): Promise<Job> =>
  contract.toJob(await post<contract.WireJob>(`${ROUTES.jobs}/find`, contract.findBody(options)));

export const startImport = async (options: ImportOptions): Promise<Job> =>
  contract.toJob(await post<contract.WireJob>(`${ROUTES.jobs}/import`, contract.importBody(options)));

/** The layout of annotations in the folder of the images itself; `format` is null if there is none. */
export const getDataFormat = (): Promise<{ data: string; format: string | null }> => request(ROUTES.dataFormat);

/** Lists files that an import has hidden as images again. */
export const showHidden = async (): Promise<Project> =>
  contract.toProject(await request<contract.WireProject>(ROUTES.hidden, { method: "DELETE" }));

/** Ends a fit with the best result so far. */
export const keepJob = (): Promise<unknown> => post(`${ROUTES.jobs}/current/keep`, {});

export const stopJob = async (): Promise<Job | null> =>
  toJobOrNull(await request<contract.WireJob | null>(`${ROUTES.jobs}/current`, { method: "DELETE" }));

export const getHeldOutObjects = async (adapter: string): Promise<HeldOutObject[]> =>
  contract.toHeldOutObjects(await request<contract.WireGallery>(`${adapterPath(adapter)}/gallery`));

export const deleteAdapter = (name: string): Promise<unknown> => request(adapterPath(name), { method: "DELETE" });

export const createExport = async (options: ExportOptions): Promise<ExportResult> =>
  contract.toExportResult(await post<contract.WireExport>(ROUTES.exports, contract.exportBody(options)));

export interface EventHandlers {
  onJob: (job: Job) => void;
  onProject: (project: Project) => void;
  onImage: (image: ImageInfo) => void;
  onConnect: () => void;
  onDisconnect: () => void;
}

/** Subscribes to server-sent events. The browser reconnects by itself. */
export function subscribe(handlers: EventHandlers): void {
  const source = new EventSource(`/api/${ROUTES.events}`);
  const on = <T>(name: string, handle: (data: T) => void) =>
    source.addEventListener(name, (event) => handle(JSON.parse((event as MessageEvent<string>).data) as T));
  on<contract.WireJob>(EVENTS.job, (wire) => handlers.onJob(contract.toJob(wire)));
  on<contract.WireProject>(EVENTS.project, (wire) => handlers.onProject(contract.toProject(wire)));
  on<contract.WireImage>(EVENTS.image, (wire) => handlers.onImage(contract.toImage(wire)));
  source.onerror = handlers.onDisconnect;
  source.onopen = handlers.onConnect;
}
