/** The running job: stage, progress, loss and held-out mIoU. */

import { stopJob } from "../jobs";
import * as store from "../store";
import type { Job, JobStage } from "../types";
import { formatDuration, formatPercent } from "./format";

const STAGE_LABELS: Record<JobStage, string> = {
  start: "Starting",
  encode: "Encoding images",
  train: "Training",
  "select-inference": "Selecting inference settings",
  compare: "Comparing with the base model",
  "train-proposals": "Training proposals",
  label: "Labeling",
  import: "Reading annotations",
};

const TITLES: Record<Job["kind"], string> = { fit: "Fitting", label: "Labeling images", import: "Importing annotations", measure: "Measuring a base model" };

export function JobProgress({ job }: { job: Job }) {
  const percent = job.total > 0 ? (100 * job.done) / job.total : 0;
  const details = [
    STAGE_LABELS[job.stage],
    job.total > 1 && `${job.done} of ${job.total}`,
    job.imagesPerSecond !== null && `${job.imagesPerSecond.toFixed(1)} images/s`,
  ];
  return (
    <div class="running" id="job" data-kind={job.kind}>
      <div class="spread">
        <b>{TITLES[job.kind]}</b>
        <span>{job.secondsLeft !== null && job.secondsLeft >= 0.5 ? `${formatDuration(job.secondsLeft)} left` : ""}</span>
      </div>
      <div class="bar" role="progressbar" aria-label="Progress" aria-valuenow={Math.round(percent)} aria-valuemin={0} aria-valuemax={100}>
        <i class="accepted" style={{ width: `${percent}%` }} />
      </div>
      <p class="hint">{details.filter(Boolean).join(" · ")}</p>
      {job.kind === "fit" && <Metrics job={job} />}
      <div class="spread">
        <span class="hint">You can keep annotating.</span>
        <button class="plain" id="stop" onClick={stopJob}>
          Stop
        </button>
      </div>
    </div>
  );
}

function Metrics({ job }: { job: Job }) {
  return (
    <div class="metrics">
      <div>
        <small>Loss</small>
        <b>{job.loss?.toFixed(3) ?? "–"}</b>
        <LossCurve />
      </div>
      <div>
        <small>Held-out mIoU</small>
        <b>{formatPercent(job.clickMiou)}</b>
        <small>{job.baseMiou === null ? "" : `base ${formatPercent(job.baseMiou)}`}</small>
      </div>
    </div>
  );
}

function LossCurve() {
  const losses = store.lossHistory.value.map((one) => one.loss);
  const [max, min] = [Math.max(...losses), Math.min(...losses)];
  const path = losses
    .map((loss, index) => {
      const x = (100 * index) / (losses.length - 1);
      const y = 22 - (20 * (loss - min)) / Math.max(max - min, 1e-9);
      return `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
  return (
    <svg class="loss-curve" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
      {losses.length > 1 && (
        <path d={path} fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke" />
      )}
    </svg>
  );
}
