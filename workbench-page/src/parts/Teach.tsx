/** Fit, its progress, the gallery of before and after, Label the rest. */

import { useState } from "preact/hooks";

import type { Job } from "../contract";
import { fit, labelRest, labeller, stop } from "../jobs";
import { ordered } from "../queue";
import * as store from "../store";
import { open } from "../work";
import { Icon } from "./icons";
import { duration, percent } from "./wording";

export function Teach() {
  const project = store.project.value!;
  const job = store.job.value;
  const running = job?.state === "running";
  const missing = project.minimum - store.counts.value.accepted;
  return (
    <section aria-labelledby="teach-title" id="teach">
      <h2 id="teach-title">Teach it</h2>
      {running ? <Running job={job} /> : <Idle missing={missing} />}
      {!running && job && <Ended job={job} />}
      {!running && <Label />}
    </section>
  );
}

function Idle({ missing }: { missing: number }) {
  const project = store.project.value!;
  const [options, setOptions] = useState({ name: "", method: "", steps: "", seed: "" });
  const field = (key: keyof typeof options, text: string, hint: string, type = "text") => (
    <label>
      <span>{text}</span>
      <input type={type} min="0" placeholder={hint} value={options[key]} onInput={(event) => setOptions({ ...options, [key]: event.currentTarget.value })} />
    </label>
  );
  const start = (event: Event) => {
    event.preventDefault();
    const number = (text: string) => (text.trim() === "" ? undefined : Number(text));
    void fit({
      name: options.name.trim() || undefined,
      method: options.method.trim() || undefined,
      steps: number(options.steps),
      seed: number(options.seed),
    });
  };
  return (
    <form onSubmit={start} class="teach">
      <p class="hint">
        {missing > 0
          ? `Mark and accept ${missing} more ${missing === 1 ? "picture" : "pictures"}; then the model can be fitted to your objects.`
          : `${store.counts.value.accepted} accepted pictures to learn from.`}
      </p>
      <div class="pips" aria-hidden="true">
        {missing > 0 && Array.from({ length: project.minimum }, (_, index) => <i key={index} class={index < store.counts.value.accepted ? "on" : ""} />)}
      </div>
      <button class="primary wide" id="fit" disabled={missing > 0}>
        <Icon name="spark" /> {project.adapters.length ? "Fit again" : "Fit"}
      </button>
      <details>
        <summary>Options of the fit</summary>
        <div class="options">
          {field("name", "Name", "chosen for you")}
          {field("steps", "Steps", "as the method has it", "number")}
          <label>
            <span>Method</span>
            <select value={options.method} onChange={(event) => setOptions({ ...options, method: event.currentTarget.value })}>
              <option value="">default</option>
              {(project.methods ?? []).map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          {field("seed", "Seed", "0", "number")}
        </div>
      </details>
      {(project.unfinished ?? []).map((name) => (
        <div key={name} class="line">
          <span class="hint">{name} was cut short.</span>
          <button type="button" class="plain" onClick={() => void fit({ name })}>
            Go on
          </button>
        </div>
      ))}
    </form>
  );
}

const STAGES: Record<string, string> = {
  start: "Starting",
  encode: "Reading the pictures",
  fit: "Learning",
  settle: "Trying how to look",
  gallery: "Before and after",
  proposals: "Learning where to look",
  label: "Labelling",
};
const stage = (job: Job) => STAGES[job.stage] ?? job.stage;

function Running({ job }: { job: Job }) {
  const done = job.total > 0 ? job.done / job.total : 0;
  return (
    <div class="running" id="job" data-kind={job.kind}>
      <div class="line">
        <b>{job.kind === "fit" ? "Fitting" : "Labelling the rest"}</b>
        <span>{job.seconds_left !== null ? `${duration(job.seconds_left)} left` : ""}</span>
      </div>
      <div class="bar" role="progressbar" aria-label="Progress" aria-valuenow={Math.round(100 * done)} aria-valuemin={0} aria-valuemax={100}>
        <i class="accepted" style={{ width: `${100 * done}%` }} />
      </div>
      <p class="hint">
        {stage(job)}
        {job.total > 0 && ` · ${job.done} of ${job.total}`}
        {job.images_per_second !== null && ` · ${job.images_per_second.toFixed(1)} pictures/s`}
      </p>
      {job.kind === "fit" && <Figures job={job} />}
      <div class="line">
        <span class="hint">You can go on marking.</span>
        <button class="plain" id="stop" onClick={stop}>
          Stop
        </button>
      </div>
    </div>
  );
}

function Figures({ job }: { job: Job }) {
  return (
    <div class="figures">
      <div>
        <small>Loss</small>
        <b>{job.loss === null ? "–" : job.loss.toFixed(3)}</b>
        <Spark />
      </div>
      <div>
        <small>Held-out mIoU</small>
        <b>{percent(job.miou)}</b>
        <small>{job.start_miou === null ? "" : `base ${percent(job.start_miou)}`}</small>
      </div>
    </div>
  );
}

/** The loss so far, as a line. */
function Spark() {
  const points = store.losses.value;
  if (points.length < 2) return <svg class="spark" viewBox="0 0 100 24" aria-hidden="true" />;
  const most = Math.max(...points.map((one) => one.loss));
  const least = Math.min(...points.map((one) => one.loss));
  const path = points
    .map((one, index) => {
      const x = (100 * index) / (points.length - 1);
      const y = 22 - (20 * (one.loss - least)) / Math.max(most - least, 1e-9);
      return `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
  return (
    <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
      <path d={path} fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke" />
    </svg>
  );
}

function Ended({ job }: { job: Job }) {
  const there = store.project.value!.adapters.some((one) => one.name === job.adapter);
  if (job.state === "failed") {
    return (
      <p class="result bad" role="alert">
        {job.kind === "fit" ? "The fit failed" : "Labelling failed"}: {job.message ?? "no reason was told."}
      </p>
    );
  }
  if (job.kind === "label") return <Labelled job={job} />;
  return (
    <div class="result good">
      <p>
        {job.state === "stopped" ? "Stopped. " : ""}
        {job.adapter ? <b>{job.adapter}</b> : "Fit"}
        {job.miou !== null && (
          <>
            : clicks on held-out objects {percent(job.start_miou)} → <b>{percent(job.miou)}</b>
            {job.alone_miou != null && (
              <>
                , without a click <b>{percent(job.alone_miou)}</b>
              </>
            )}
          </>
        )}
      </p>
      {job.message && <p class="hint">{job.message}</p>}
      {there && (
        <button
          class="plain wide"
          id="gallery"
          onClick={() => {
            store.galleryOf.value = job.adapter;
            store.dialog.value = "gallery";
          }}
        >
          Before and after
        </button>
      )}
    </div>
  );
}

function Labelled({ job }: { job: Job }) {
  const first = ordered(store.pictures.value).find((one) => one.state === "proposed");
  if (!first && !job.message) return null;
  return (
    <div class="result good">
      {job.message && <p class="hint">{job.message}</p>}
      {first && (
        <button class="plain wide" id="review" onClick={() => void open(first.id)}>
          Look through, least certain first
        </button>
      )}
    </div>
  );
}

function Label() {
  const [threshold, setThreshold] = useState("");
  const project = store.project.value!;
  const name = labeller(project, store.adapter.value);
  const rest = store.pictures.value.filter((one) => one.state === "proposed" || (one.state === "open" && one.objects === 0)).length;
  if (!name && project.adapters.length) {
    return <p class="hint">None of the adapters finds objects by itself; fit again, then the rest can be labelled.</p>;
  }
  if (!name) return null;
  return (
    <form
      class="teach"
      onSubmit={(event) => {
        event.preventDefault();
        void labelRest(name, threshold.trim() ? Number(threshold) : undefined);
      }}
    >
      <button class="plain wide strong" id="label-rest" disabled={rest === 0}>
        Label the rest <small>({rest})</small>
      </button>
      <details>
        <summary>With {name}</summary>
        <div class="options">
          <label>
            <span>Least score</span>
            <input type="number" min="0" max="1" step="0.05" placeholder="as the adapter has it" value={threshold} onInput={(event) => setThreshold(event.currentTarget.value)} />
          </label>
        </div>
      </details>
    </form>
  );
}
