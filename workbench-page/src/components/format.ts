/** Numbers and states as text. */

import type { ImageState, Job } from "../types";

export const STATE_LABELS: Record<ImageState, string> = {
  open: "Open",
  proposed: "Proposed",
  accepted: "Accepted",
  failed: "Unreadable",
};

/** The state of an image as text; an open image with objects is a draft. */
export const stateLabel = (state: ImageState, objects: number): string =>
  state === "open" && objects > 0 ? "Draft" : STATE_LABELS[state];

export function formatDuration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
  if (total < 60) return `${total} s`;
  if (hours === 0) return `${minutes} min ${String(total % 60).padStart(2, "0")} s`;
  return `${hours} h ${String(minutes).padStart(2, "0")} min`;
}

/** An IoU in percent, with the unit; a dash if there is none. */
export const formatPercent = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)}%`;

/** 1 image, 2 images. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

export function jobSummary(job: Job): string {
  const kind = { fit: "Fitting", label: "Labeling", import: "Importing", measure: "Measuring" }[job.kind];
  return job.total > 0 ? `${kind} ${Math.floor((100 * job.done) / job.total)}%` : kind;
}
