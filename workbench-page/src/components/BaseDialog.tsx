/** Choice of the base model, with its size and its speed on this machine. */

import { useEffect, useState } from "preact/hooks";

import * as api from "../api";
import { chooseBase, measureBase } from "../jobs";
import * as store from "../store";
import type { BaseInfo } from "../types";
import { JobProgress } from "./JobProgress";
import { Modal } from "./Modal";

export function BaseDialog() {
  const job = store.job.value;
  const running = job?.state === "running";
  const [bases, setBases] = useState<BaseInfo[]>([]);
  const [other, setOther] = useState("");
  const { nextBase } = store.project.value!;
  useEffect(() => {
    api.getBases().then(setBases, store.notifyError);
  }, [job?.id, job?.state, nextBase]);
  return (
    <Modal title="Base model" wide>
      <p class="hint">
        The base model makes the masks of clicks, and adapters are fitted on it. Your annotations do not depend on it;
        adapters belong to their base and have to be fitted again. A change takes effect at the next start of samtailor.
        Measure a model before you use it: this downloads it if needed, and shows how fast it is on this machine.
      </p>
      <table class="bases" id="bases">
        <thead>
          <tr>
            <th>Model</th>
            <th>Parameters</th>
            <th>Time per image</th>
            <th>Time per click</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {bases.map((one) => (
            <BaseRow key={one.name} base={one} running={running} />
          ))}
        </tbody>
      </table>
      <form
        class="add"
        onSubmit={(event) => {
          event.preventDefault();
          void measureBase(other);
        }}
      >
        <input
          aria-label="Another base model"
          placeholder="Hub id or folder of another model"
          value={other}
          onInput={(event) => setOther(event.currentTarget.value)}
        />
        <button class="plain" disabled={running || !other.trim()}>
          Measure
        </button>
      </form>
      {job?.kind === "measure" && running && <JobProgress job={job} again />}
      {job?.kind === "measure" && job.state === "failed" && (
        <p class="result bad" role="alert">
          {job.message}
        </p>
      )}
    </Modal>
  );
}

const seconds = (value: number) => (value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`);
const millions = (count: number) => `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} M`;

function BaseRow({ base, running }: { base: BaseInfo; running: boolean }) {
  const { name, hint, current, next, measured } = base;
  const inUse = current && !store.project.value!.nextBase;
  return (
    <tr data-base={name}>
      <th scope="row">
        {name}
        {hint && <small>{hint}</small>}
      </th>
      <td>{measured ? millions(measured.parameters) : "–"}</td>
      <td>{measured ? seconds(measured.encodeSeconds) : "–"}</td>
      <td>{measured ? seconds(measured.clickSeconds) : "–"}</td>
      <td>
        <button class="plain" disabled={running} title="Load it, from the hub if needed, and measure its speed here" onClick={() => void measureBase(name)}>
          {measured ? "Measure again" : "Measure"}
        </button>{" "}
        {inUse || next ? (
          <b>{next ? "At the next start" : "In use"}</b>
        ) : (
          <button
            class="plain"
            disabled={running || !(measured || current)}
            title={measured || current ? undefined : "Measure the model first"}
            onClick={() => void chooseBase(name)}
          >
            Use
          </button>
        )}
      </td>
    </tr>
  );
}
