/** Requests to the server, one function each. Everything is same-origin; the token, where one is needed, is a cookie. */

import type {
  Annotations,
  Box,
  Candidate,
  ClassInfo,
  Comparison,
  Export,
  GalleryItem,
  IouMap,
  Job,
  ObjectRecord,
  Picture,
  Polygon,
  Project,
  Prompts,
  Rle,
} from "./contract";

/** The server said no; `message` is its own words. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly body: unknown = null,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** Nothing came back: the server is stopped or the line is down. */
export class Offline extends Error {}

type Send = { method?: string; body?: unknown; signal?: AbortSignal; keepalive?: boolean };

async function ask<T>(path: string, { method = "GET", body, signal, keepalive }: Send = {}): Promise<T> {
  const init: RequestInit = { method, signal, keepalive, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let answer: Response;
  try {
    answer = await fetch(`/api${path}`, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Offline("The server does not answer. Is `samtailor ui` still running?");
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok) return told as T;
  const retry = Number(answer.headers.get("Retry-After"));
  throw new Refusal(answer.status, words(told, answer.status), told, retry > 0 ? retry : null);
}

function words(told: unknown, status: number): string {
  if (told && typeof told === "object") {
    const { error, detail } = told as { error?: unknown; detail?: unknown };
    if (typeof error === "string") return error;
    if (typeof detail === "string") return detail;
  }
  if (status === 401) return "The server wants its token: open the page with the whole link that it printed.";
  return `The server answered ${status}.`;
}

const at = (id: string) => `/pictures/${encodeURIComponent(id)}`;
const named = (name: string) => `/adapters/${encodeURIComponent(name)}`;

/** Where <img> finds a picture. */
export const imageUrl = (id: string) => `/api${at(id)}/image`;
export const thumbnailUrl = (id: string) => `/api${at(id)}/thumbnail`;

export const getProject = () => ask<Project>("/project");
export const putClasses = (classes: ClassInfo[], renamed: Record<string, string> = {}) =>
  ask<Project>("/classes", { method: "PUT", body: { classes, renamed } });
export const getPictures = () => ask<Picture[]>("/pictures");
export const encode = (id: string, signal?: AbortSignal) =>
  ask<{ seconds: number }>(`${at(id)}/encode`, { method: "POST", body: {}, signal });

export const getAnnotations = (id: string) => ask<Annotations>(`${at(id)}/annotations`);
export const putAnnotations = (
  id: string,
  body: { revision: number; state: "open" | "accepted"; objects: ObjectRecord[] },
  keepalive = false,
) => ask<{ revision: number }>(`${at(id)}/annotations`, { method: "PUT", body, keepalive });

/** `closer`: what a closer look at a small object gives comes first, or second. */
export const segment = (id: string, adapter: string | null, prompts: Prompts, closer: boolean, signal?: AbortSignal) =>
  ask<{ masks: Candidate[]; milliseconds: number }>(`${at(id)}/segment`, {
    method: "POST",
    body: { adapter, ...prompts, closer },
    signal,
  });
export const compare = (id: string, adapters: (string | null)[], prompts: Prompts, signal?: AbortSignal) =>
  ask<{ answers: Comparison[] }>(`${at(id)}/compare`, { method: "POST", body: { adapters, ...prompts }, signal });
export const iouMap = (id: string, object: string, adapter: string | null, signal?: AbortSignal, grid = 16) => {
  const query = new URLSearchParams({ object, grid: String(grid) });
  if (adapter !== null) query.set("adapter", adapter);
  return ask<IouMap>(`${at(id)}/iou-map?${query}`, { signal });
};
export const auto = (id: string, adapter: string, threshold?: number) =>
  ask<{ objects: ObjectRecord[] }>(`${at(id)}/auto`, { method: "POST", body: { adapter, threshold } });
export const toPolygons = (id: string, rle: Rle, tolerance: number) =>
  ask<{ polygons: Polygon[] }>(`${at(id)}/polygon`, { method: "POST", body: { rle, tolerance } });
export const rasterise = (id: string, polygons: Polygon[], signal?: AbortSignal) =>
  ask<{ rle: Rle; area: number; box: Box }>(`${at(id)}/rasterise`, { method: "POST", body: { polygons }, signal });

export interface FitOptions {
  name?: string;
  classes?: string[];
  method?: string;
  steps?: number;
  seed?: number;
}
export const startFit = (options: FitOptions) => ask<Job>("/jobs/fit", { method: "POST", body: options });
export const startLabel = (adapter: string, threshold?: number) =>
  ask<Job>("/jobs/label", { method: "POST", body: { adapter, threshold } });
export const stopJob = () => ask<Job | null>("/jobs/current", { method: "DELETE" });
export const getJob = () => ask<Job | null>("/jobs/current");
export const getGallery = (name: string) => ask<{ pictures: GalleryItem[] }>(`${named(name)}/gallery`);
export const deleteAdapter = (name: string) => ask<unknown>(named(name), { method: "DELETE" });
export const makeExport = (format: string, states: string[]) =>
  ask<Export>("/export", { method: "POST", body: { format, states } });
