/** How the last job ended. */

import { openImage } from "../editor";
import { inQueueOrder } from "../image-queue";
import * as store from "../store";
import type { Comparison, Job } from "../types";
import { counted, formatPercent } from "./format";

export function JobResult({ job }: { job: Job }) {
  if (job.state === "failed") {
    const failed = { fit: "The fit failed", label: "Labeling failed", import: "The import failed", measure: "The measurement failed" }[job.kind];
    return (
      <p class="result bad" role="alert">
        {failed}: {job.message ?? "unknown error."}
      </p>
    );
  }
  if (job.kind === "measure") return null;
  if (job.kind === "import") return <ImportResult job={job} />;
  return job.kind === "label" ? <LabelResult job={job} /> : <FitResult job={job} />;
}

function ImportResult({ job }: { job: Job }) {
  if (job.state === "stopped") {
    return <p class="result">The import was stopped. What was read until then is saved; import again to continue.</p>;
  }
  return (
    <div class="result good">
      <p>{job.report?.dry ? "The data set was checked." : "The annotations were imported."}</p>
      <button class="plain wide" onClick={() => (store.dialog.value = "import")}>
        Show the account
      </button>
    </div>
  );
}

/** With fewer held-out images, the scores of a fit are a rough estimate. */
const MIN_HELD_OUT = 5;
/** With fewer objects, no comparison is made. */
const MIN_OBJECTS = 5;

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
      {job.comparison && <ComparisonNote adapter={adapter ?? ""} comparison={job.comparison} />}
      {job.message && <p class="hint">{job.message}</p>}
      {adapter && exists && (
        <button class="plain wide" id="gallery" onClick={() => store.showBeforeAfter(adapter)}>
          Show before and after
        </button>
      )}
    </div>
  );
}

/** The new adapter against the one in use before it; a worse one is offered, but not taken. */
function ComparisonNote({ adapter, comparison }: { adapter: string; comparison: Comparison }) {
  const { objects, images, miou, withMiou, seen, worse } = comparison;
  const on = `${counted(objects, "object")} in ${counted(images, "held-out image")}`;
  const inUse = store.activeAdapter.value === adapter;
  if (objects < MIN_OBJECTS) {
    return <p class="hint">Too few held-out objects ({objects}) to compare it with {comparison.with}.</p>;
  }
  return (
    <>
      <p class={worse ? "worse" : "hint"} id="comparison">
        On the same {on}: {adapter} {formatPercent(miou)}, {comparison.with} {formatPercent(withMiou)}.
        {seen > 0 && ` ${comparison.with} was trained on ${seen} of these images, which is to its advantage.`}
        {worse && !inUse && ` ${comparison.with} stays in use.`}
      </p>
      {worse && !inUse && (
        <button class="plain wide" id="use-worse" onClick={() => store.chooseAdapter(adapter)}>
          Use {adapter} all the same
        </button>
      )}
    </>
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
