/** Numbers and states as text. */

import type { Adapter, ImageState, Job } from "../types";

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

/** An interval of IoUs in percent, without the unit: 50.0–70.0. */
export const formatInterval = ([low, high]: [number, number]): string => `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)}`;

/** What is known of an adapter. The first line is shown for every adapter, the second for the active one. */
export function adapterDetails({ metrics, method, classes, heldOutObjects, crossValidated }: Adapter): [string, string] {
  const about = `${method}: ${classes.join(", ")}`;
  if (crossValidated) return [crossValidatedScores(crossValidated), `Cross-validated; ${classes.join(", ")}`];
  if (metrics?.clickMiou == null) {
    if (heldOutObjects === null) return [method, classes.join(", ")];
    return [heldOutObjects === 0 ? "No held-out objects" : `Too few to say (n ${heldOutObjects})`, about];
  }
  const interval = metrics.interval ? ` (${formatInterval(metrics.interval)})` : "";
  const objects = heldOutObjects === null ? "" : `, n ${heldOutObjects}`;
  const automatic = metrics.automaticMiou === null ? "" : `, automatic ${formatPercent(metrics.automaticMiou)}`;
  return [`${formatPercent(metrics.clickMiou)}${interval}${objects}`, `Held-out mIoU; base ${formatPercent(metrics.baseMiou)}${automatic}`];
}

/** Dice of images without a prompt, and IoU of clicks where the adapter answers them. */
function crossValidatedScores({ dice, click, base, objects }: NonNullable<Adapter["crossValidated"]>): string {
  const parts = [
    dice !== null && `Dice ${formatPercent(dice)}`,
    click !== null && click !== base && `clicks ${formatPercent(base)} → ${formatPercent(click)}`,
  ].filter(Boolean);
  return parts.length ? `${parts.join(", ")}, n ${objects}` : "Too few to say";
}

/** Stages of jobs whose names are not words already. */
const STAGE_LABELS: Record<string, string> = {
  start: "Starting",
  encode: "Encoding images",
  fit: "Training",
  select: "Selecting inference settings",
  contest: "Comparing methods",
  evaluate: "Evaluating on held-out images",
  gallery: "Comparing with the base model",
  proposals: "Training proposals",
  label: "Labeling",
  references: "Reading the references",
  find: "Searching",
  import: "Reading annotations",
  download: "Downloading",
  measure: "Measuring",
};

/** The name of a stage in words. Methods may have stages of their own: "cross-validation" is "Cross-validation". */
export function stageLabel(stage: string): string {
  const words = stage.replace(/_/g, " ");
  return STAGE_LABELS[stage] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

export function jobSummary(job: Job): string {
  const kind = { fit: "Fitting", label: "Labeling", find: "Searching", import: "Importing", measure: "Measuring" }[job.kind];
  if (job.total <= 0) return kind;
  const left = job.secondsLeft !== null && job.secondsLeft >= 1 ? `, ${formatDuration(job.secondsLeft)} left` : "";
  return `${kind} ${Math.floor((100 * job.done) / job.total)}%${left}`;
}
