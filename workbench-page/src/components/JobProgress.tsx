/** The running job: stage, progress, loss and held-out mIoU. */

import { keepBest, stopJob } from "../jobs";
import * as store from "../store";
import type { Job } from "../types";
import { formatDuration, formatPercent, stageLabel } from "./format";

const TITLES: Record<Job["kind"], string> = {
  fit: "Fitting",
  label: "Labeling images",
  find: "Finding objects",
  import: "Importing annotations",
  measure: "Measuring a base model",
};

/** `again`: shown in a dialog, in addition to the panel. */
export function JobProgress({ job, again = false }: { job: Job; again?: boolean }) {
  const id = (name: string) => (again ? undefined : name);
  const percent = job.total > 0 ? (100 * job.done) / job.total : 0;
  const details = [
    job.part ? `${stageLabel(job.stage)}: ${job.part}` : stageLabel(job.stage),
    job.total > 1 && `${job.done} of ${job.total}${job.stage === "download" ? " MB" : ""}`,
    job.imagesPerSecond !== null && `${job.imagesPerSecond.toFixed(1)} images/s`,
  ];
  return (
    <div class="running" id={id("job")} data-kind={job.kind}>
      <div class="spread">
        <b>{TITLES[job.kind]}</b>
        <span>{job.secondsLeft !== null && job.secondsLeft >= 0.5 ? `${formatDuration(job.secondsLeft)} left` : ""}</span>
      </div>
      <div class="bar" role="progressbar" aria-label="Progress" aria-valuenow={Math.round(percent)} aria-valuemin={0} aria-valuemax={100}>
        <i class="accepted" style={{ width: `${percent}%` }} />
      </div>
      <p class="hint" id={id("job-stage")}>
        {job.keeping ? "Ending with the best result so far…" : details.filter(Boolean).join(" · ")}
      </p>
      {(job.loss !== null || job.clickMiou !== null) && <Metrics job={job} />}
      <div class="spread">
        {job.kind === "fit" ? (
          <button
            class="plain"
            id={id("keep-best")}
            disabled={job.keeping}
            title="End the fit now and use its best result so far"
            onClick={keepBest}
          >
            Use best so far
          </button>
        ) : (
          <span class="hint">You can keep annotating.</span>
        )}
        <button class="plain" id={id("stop")} title={job.kind === "fit" ? "Stop the fit; it can be resumed later" : undefined} onClick={stopJob}>
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
