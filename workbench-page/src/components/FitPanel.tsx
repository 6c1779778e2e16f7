/** Fitting an adapter and labeling the remaining images. */

import { useState } from "preact/hooks";

import { labelingAdapter, startFit, startLabeling } from "../jobs";
import * as store from "../store";
import { counted } from "./format";
import { Icon } from "./Icon";
import { JobProgress } from "./JobProgress";
import { JobResult } from "./JobResult";

export function FitPanel() {
  const job = store.job.value;
  return (
    <section aria-labelledby="fit-title" id="fit-panel">
      <h2 id="fit-title">Fit</h2>
      {job?.state === "running" ? (
        <JobProgress job={job} />
      ) : (
        <>
          <FitForm />
          {job && <JobResult job={job} />}
          <LabelForm />
          {store.stateCounts.value.proposed > 1 && (
            <button class="plain wide" id="accept-many" onClick={() => (store.dialog.value = "accept-many")}>
              Accept many…
            </button>
          )}
        </>
      )}
    </section>
  );
}

const optionalNumber = (text: string) => (text.trim() === "" ? undefined : Number(text));

function FitForm() {
  const project = store.project.value!;
  const accepted = store.usableCount.value;
  const empty = store.stateCounts.value.accepted - accepted;
  // a single method holds an image out, the default cross-validates
  const [options, setOptions] = useState({ name: "", method: "", budget: "", steps: "", seed: "" });
  const contest = options.method === "" || options.method === "auto";
  const missing = (contest ? project.minImages : project.goodImages) - accepted;
  const few = project.goodImages - accepted;
  const set = (key: keyof typeof options) => (event: { currentTarget: { value: string } }) =>
    setOptions({ ...options, [key]: event.currentTarget.value });
  const onSubmit = (event: Event) => {
    event.preventDefault();
    void startFit({
      name: options.name.trim() || undefined,
      method: options.method || undefined,
      budget: (contest && options.budget) || undefined,
      steps: optionalNumber(options.steps),
      seed: optionalNumber(options.seed),
    });
  };
  return (
    <form onSubmit={onSubmit} class="fit-form">
      {missing > 0 && (
        <>
          <p class="hint">
            You can fit after accepting {counted(missing, "more image")} with objects.
            {empty > 0 && ` ${counted(empty, "accepted image")} without objects ${empty === 1 ? "does" : "do"} not count.`}
          </p>
        </>
      )}
      {few > 0 && (
        <>
          {missing <= 0 && <p class="hint">A fit is useful from about {project.goodImages} images on: fewer say little about how good it is.</p>}
          <AcceptedSteps accepted={accepted} needed={project.goodImages} />
        </>
      )}
      <button class="primary wide" id="fit" disabled={missing > 0}>
        <Icon name="spark" /> {project.adapters.length ? "Fit again" : "Fit"}
        {missing <= 0 && <small>({counted(accepted, "image")})</small>}
      </button>
      <details>
        <summary>Fit options</summary>
        <div class="options">
          <label>
            <span>Name</span>
            <input placeholder="automatic" value={options.name} onInput={set("name")} />
          </label>
          {contest && (
            <label>
              <span>Time</span>
              <select id="budget" value={options.budget} onChange={set("budget")}>
                <option value="">2 min (many classes: 1 min each)</option>
                {BUDGETS.map(([value, text]) => (
                  <option key={value} value={value}>
                    {text}
                  </option>
                ))}
              </select>
            </label>
          )}
          <label>
            <span>Steps</span>
            <input type="number" min="1" placeholder="default" value={options.steps} onInput={set("steps")} />
          </label>
          <label>
            <span>Method</span>
            <select value={options.method} onChange={set("method")}>
              <option value="">default</option>
              {project.methods.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          <label>
            <span>Seed</span>
            <input type="number" min="0" placeholder="0" value={options.seed} onInput={set("seed")} />
          </label>
        </div>
      </details>
      {project.unfinishedFits.map((name) => (
        <div key={name} class="spread">
          <span class="hint">{name} was interrupted.</span>
          <button type="button" class="plain" onClick={() => void startFit({ name })}>
            Resume
          </button>
        </div>
      ))}
    </form>
  );
}

/** Times that a fit may take; it compares more, and longer fits, the more it has. */
const BUDGETS = [
  ["30s", "30 s"],
  ["2m", "2 min"],
  ["10m", "10 min"],
  ["1h", "1 hour"],
] as const;

/** One bar for each image that a fit needs. */
function AcceptedSteps({ accepted, needed }: { accepted: number; needed: number }) {
  return (
    <div class="steps" aria-hidden="true">
      {Array.from({ length: needed }, (_, index) => (
        <i key={index} class={index < accepted ? "done" : ""} />
      ))}
    </div>
  );
}

function LabelForm() {
  const [minScore, setMinScore] = useState("");
  const { adapters } = store.project.value!;
  const adapter = labelingAdapter(adapters, store.activeAdapter.value);
  // labeling replaces earlier proposals, but nothing that the user has drawn
  const remaining = store.images.value.filter(
    (one) => one.state === "proposed" || (one.state === "open" && one.objects === 0),
  ).length;
  if (!adapters.length) return null;
  if (!adapter) {
    return <p class="hint">No adapter can find objects by itself. Fit again to label the remaining images.</p>;
  }
  return (
    <form
      class="fit-form"
      onSubmit={(event) => {
        event.preventDefault();
        void startLabeling(adapter, optionalNumber(minScore));
      }}
    >
      <button class="plain wide strong" id="label-rest" disabled={remaining === 0} title={`Label with ${adapter}`}>
        Label remaining images <small>({remaining})</small>
      </button>
      <details>
        <summary>Labeling options</summary>
        <div class="options">
          <label>
            <span>Minimum score</span>
            <input
              type="number"
              min="0"
              max="1"
              step="0.05"
              placeholder="default"
              value={minScore}
              onInput={(event) => setMinScore(event.currentTarget.value)}
            />
          </label>
          <p class="hint">Uses {adapter}.</p>
        </div>
      </details>
    </form>
  );
}
