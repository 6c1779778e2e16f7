/** How the last job ended. */

import { openImage } from "../editor";
import { inQueueOrder } from "../image-queue";
import * as store from "../store";
import type { Job } from "../types";
import { counted, formatPercent } from "./format";

export function JobResult({ job }: { job: Job }) {
  if (job.state === "failed") {
    return (
      <p class="result bad" role="alert">
        {job.kind === "fit" ? "The fit failed" : "Labeling failed"}: {job.message ?? "unknown error."}
      </p>
    );
  }
  return job.kind === "label" ? <LabelResult job={job} /> : <FitResult job={job} />;
}

/** With fewer held-out images, the scores of a fit are a rough estimate. */
const MIN_HELD_OUT = 5;

function FitResult({ job }: { job: Job }) {
  const { adapter, clickMiou, baseMiou, automaticMiou, heldOutImages } = job;
  const exists = store.project.value!.adapters.some((one) => one.name === adapter);
  return (
    <div class="result good">
      <p>
        <b>{adapter ?? "Fit"}</b> {job.state === "stopped" ? "stopped early" : "finished"}.
        {clickMiou !== null && (
          <>
            {" "}
            mIoU with clicks on {heldOutImages === null ? "held-out images" : counted(heldOutImages, "held-out image")}:{" "}
            {formatPercent(baseMiou)} → <b>{formatPercent(clickMiou)}</b>.
          </>
        )}
        {clickMiou !== null && automaticMiou !== null && (
          <>
            {" "}
            Automatic mode: <b>{formatPercent(automaticMiou)}</b>.
          </>
        )}
      </p>
      {clickMiou !== null && heldOutImages !== null && heldOutImages < MIN_HELD_OUT && (
        <p class="hint">A rough estimate: with more accepted images, more are held out.</p>
      )}
      {job.message && <p class="hint">{job.message}</p>}
      {adapter && exists && (
        <button class="plain wide" id="gallery" onClick={() => store.showBeforeAfter(adapter)}>
          Show before and after
        </button>
      )}
    </div>
  );
}

function LabelResult({ job }: { job: Job }) {
  const first = inQueueOrder(store.images.value).find((one) => one.state === "proposed");
  if (!first && !job.message) return null;
  return (
    <div class="result good">
      {job.message && <p class="hint">{job.message}</p>}
      {first && (
        <button class="plain wide" id="review" onClick={() => void openImage(first.id)}>
          Review, least certain first
        </button>
      )}
    </div>
  );
}
