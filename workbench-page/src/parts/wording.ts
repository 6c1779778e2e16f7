/** Numbers and states in words. */

import type { Job, PictureState } from "../contract";

export const STATES: Record<PictureState, string> = {
  open: "Open",
  proposed: "Proposed",
  accepted: "Accepted",
  failed: "Broken",
};

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

export const percent = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`;

/** A running job, short. */
export function words(job: Job): string {
  const what = job.kind === "fit" ? "Fitting" : "Labelling";
  const part = job.total > 0 ? ` ${Math.floor((100 * job.done) / job.total)} %` : "";
  return what + part;
}
