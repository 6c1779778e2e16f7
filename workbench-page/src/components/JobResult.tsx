/** How the last job ended. */

import { openImage } from "../editor";
import { inQueueOrder, searchResults } from "../image-queue";
import * as store from "../store";
import type { Job } from "../types";
import { counted, formatPercent } from "./format";

export function JobResult({ job }: { job: Job }) {
  if (job.state === "failed") {
    const failed = { fit: "The fit failed", label: "Labeling failed", find: "The search failed", import: "The import failed", measure: "The measurement failed" }[job.kind];
    return (
      <p class="result bad" role="alert">
        {failed}: {job.message ?? "unknown error."}
      </p>
    );
  }
  if (job.kind === "measure") return null;
  if (job.kind === "import") return <ImportResult job={job} />;
  if (job.kind === "find") return <FindResult job={job} />;
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

function FitResult({ job }: { job: Job }) {
  const { adapter, clickMiou, baseMiou, automaticMiou, heldOutImages, heldOutObjects, interval } = job;
  const exists = store.project.value!.adapters.some((one) => one.name === adapter);
  return (
    <div class={`result ${job.replaces === false ? "neutral" : "good"}`}>
      <p>
        <b>{adapter ?? "Fit"}</b> {job.state === "stopped" ? "stopped early" : "finished"}.
        {clickMiou !== null && (
          <>
            {" "}
            mIoU with clicks on {heldOutObjects !== null && `${counted(heldOutObjects, "object")} in `}
            {heldOutImages === null ? "held-out images" : counted(heldOutImages, "held-out image")}:{" "}
            {formatPercent(baseMiou)} → <b>{formatPercent(clickMiou)}</b>
            {interval && ` (95% interval ${formatPercent(interval[0])} to ${formatPercent(interval[1])})`}.
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
      <ComparisonNote job={job} />
      {clickMiou === null && heldOutObjects !== null && (
        <p class="hint">Too few held-out objects to say how good it is ({heldOutObjects}).</p>
      )}
      {job.message && <p class="hint">{job.message}</p>}
      <NextImage job={job} />
      {adapter && exists && (
        <button class="plain wide" id="gallery" onClick={() => store.showBeforeAfter(adapter)}>
          Show before and after
        </button>
      )}
    </div>
  );
}

/** The image that the adapter is least certain of. */
function NextImage({ job }: { job: Job }) {
  const next = store.images.value.find((one) => job.nextImages.includes(one.id) && one.state !== "accepted");
  if (!next) return null;
  return (
    <button class="plain wide" id="mark-next" title="The adapter is least certain of this image" onClick={() => void openImage(next.id)}>
      Mark next: {next.name}
    </button>
  );
}

/** The verdict on the new adapter, and the figures behind it on request. A worse one is offered, but not taken. */
function ComparisonNote({ job: { adapter, comparison, replaces } }: { job: Job }) {
  const crossValidated = store.project.value!.adapters.find((one) => one.name === adapter)?.crossValidated;
  const offered = replaces === false && adapter !== null && store.activeAdapter.value !== adapter;
  const verdict = replaces === null ? null : comparison[comparison.length - 1];
  const rest = verdict ? comparison.slice(0, -1) : comparison;
  const [shown, figures] = crossValidated ? [rest.slice(0, FIRST_SENTENCES), rest.slice(FIRST_SENTENCES)] : [[], rest];
  return (
    <div id="comparison">
      {shown.map((sentence) => (
        <p key={sentence} class="hint">
          {sentence}
        </p>
      ))}
      {verdict && <p class={replaces === false ? "worse" : "hint"}>{verdict}</p>}
      {figures.length > 0 && (
        <details>
          <summary>{crossValidated ? "More about this fit" : "Compared on the same objects"}</summary>
          {figures.map((sentence) => (
            <p key={sentence} class="hint">
              {sentence}
            </p>
          ))}
        </details>
      )}
      {offered && (
        <button class="plain wide" id="use-worse" onClick={() => store.chooseAdapter(adapter)}>
          Use {adapter} all the same
        </button>
      )}
    </div>
  );
}

/** Sentences of a contest that are shown at once: on what it was judged, clicks, boxes, images without a prompt. */
const FIRST_SENTENCES = 4;

function FindResult({ job }: { job: Job }) {
  const first = searchResults(store.images.value)[0];
  return (
    <div class="result good" id="find-result">
      <p>{job.state === "stopped" ? "The search was stopped." : job.message}</p>
      {first && (
        <>
          <button class="plain wide" id="review-found" onClick={() => void openImage(first.id)}>
            Review, best match first
          </button>
          <button class="plain wide" onClick={() => (store.dialog.value = "find")}>
            Show what was found
          </button>
        </>
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
