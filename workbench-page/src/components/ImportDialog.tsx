/** Import of existing annotations, with the account of what the data set contains. */

import { useEffect, useState } from "preact/hooks";

import * as api from "../api";
import { showHidden, startImport } from "../jobs";
import * as store from "../store";
import type { ImportReport, Tally } from "../types";
import { counted } from "./format";
import { Icon } from "./Icon";
import { JobProgress } from "./JobProgress";
import { Modal } from "./Modal";

export function ImportDialog() {
  const job = store.job.value;
  const importing = job?.kind === "import";
  return (
    <Modal title="Import annotations" wide>
      <ImportForm busy={job?.state === "running"} />
      {importing && job.state === "running" && <JobProgress job={job} />}
      {importing && job.state === "failed" && (
        <p class="result bad" role="alert" id="import-error">
          {job.message}
        </p>
      )}
      {importing && job.state === "stopped" && (
        <p class="result">Stopped. What was read until then is saved; import again to continue.</p>
      )}
      {importing && job.report && <Report report={job.report} />}
    </Modal>
  );
}

function ImportForm({ busy }: { busy: boolean }) {
  const { layouts } = store.project.value!;
  const [data, setData] = useState("");
  const [format, setFormat] = useState("");
  const [settings, setSettings] = useState("");
  const [replace, setReplace] = useState(false);
  const [found, setFound] = useState<{ data: string; format: string | null } | null>(null);
  useEffect(() => {
    api.getDataFormat().then(setFound, () => undefined); // only a suggestion
  }, []);
  const start = (dry: boolean) => {
    const options = Object.fromEntries(settings.split(/\s+/).filter(Boolean).map(assignment));
    void startImport({ data: data.trim() || found?.data || "", format: format || null, options, replace, dry });
  };
  const ready = data.trim() !== "" || found?.format != null;
  return (
    <form
      class="import"
      onSubmit={(event) => {
        event.preventDefault();
        start(false);
      }}
    >
      <p class="hint">
        Masks and boxes of images in this project become accepted annotations. Your own annotations are kept, and a
        second import adds nothing twice.
        {found?.format && ` The folder of the images itself holds annotations in the layout ${found.format}.`}
      </p>
      <label>
        <span>Folder on the machine that runs samtailor</span>
        <input
          id="import-data"
          placeholder={found?.format ? found.data : "/path/to/data"}
          value={data}
          onInput={(event) => setData(event.currentTarget.value)}
        />
      </label>
      <details>
        <summary>Layout and options</summary>
        <div class="options">
          <label>
            <span>Layout</span>
            <select value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
              <option value="">recognized by itself</option>
              {layouts.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          <label>
            <span>Options of the layout</span>
            <input placeholder="mask_suffix=_GT" value={settings} onInput={(event) => setSettings(event.currentTarget.value)} />
          </label>
          <label class="check">
            <input type="checkbox" checked={replace} onChange={(event) => setReplace(event.currentTarget.checked)} />
            Replace annotations that were made by hand
          </label>
        </div>
      </details>
      <div class="choices">
        <button type="button" class="plain" id="check-data" disabled={busy || !ready} onClick={() => start(true)}>
          Check
        </button>
        <button class="primary" id="import-now" disabled={busy || !ready}>
          <Icon name="upload" /> Import
        </button>
      </div>
    </form>
  );
}

function assignment(text: string): [string, string] {
  const [name, ...rest] = text.split("=");
  return [name!, rest.join("=")];
}

function Report({ report }: { report: ImportReport }) {
  const { dry, outcomes, renamed, crowds, hidden } = report;
  const saved = outcomes.filter((one) => one.saved);
  const [images, objects] = [sum(saved.map((one) => one.images)), sum(saved.map((one) => one.objects))];
  return (
    <div class="account" id="account">
      <p class={`result ${images ? "good" : ""}`} role="status">
        <span>
          <b>
            {dry ? "An import would save " : "Imported "}
            {counted(objects, "object")} in {counted(images, "image")}
          </b>{" "}
          from <code>{report.data}</code> (layout: {report.format}).
        </span>
      </p>
      <table>
        <thead>
          <tr>
            <th />
            <th>Found</th>
            <th>Read</th>
            <th>Left out</th>
          </tr>
        </thead>
        <tbody>
          <TallyRow name="Images" tally={report.images} />
          <TallyRow name="Annotations" tally={report.annotations} />
        </tbody>
      </table>
      <Reasons title="Left out" rows={[...report.images.leftOut, ...report.annotations.leftOut].map(({ kind, count, example }) => ({ text: `${count} · ${kind}`, example }))} />
      <Reasons
        title="What became of the images"
        rows={outcomes.map(({ outcome, images, objects, example }) => ({
          text: `${counted(images, "image")}, ${counted(objects, "object")}: ${outcome}`,
          example,
        }))}
      />
      <Reasons
        title="Notes"
        rows={[
          ...Object.entries(renamed).map(([old, name]) => ({ text: `The class ${old} is called ${name} here.`, example: "" })),
          ...(crowds ? [{ text: `${counted(crowds, "region")} of many objects (crowd) ${crowds === 1 ? "is" : "are"} no object and left out.`, example: "" }] : []),
          ...report.layout.map((text) => ({ text, example: "" })),
        ]}
      />
      {hidden > 0 && (
        <p class="hint">
          {counted(hidden, "file")} of the data set {hidden === 1 ? "is" : "are"} no image of it (masks), and{" "}
          {dry ? "would no longer be" : hidden === 1 ? "is no longer" : "are no longer"} listed as images.{" "}
          {!dry && (
            <button class="link" onClick={() => void showHidden()}>
              List them
            </button>
          )}
        </p>
      )}
    </div>
  );
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);

function TallyRow({ name, tally }: { name: string; tally: Tally }) {
  const missing = sum(tally.leftOut.map((one) => one.count));
  return (
    <tr data-name={name}>
      <th>{name}</th>
      <td>{tally.found}</td>
      <td>{tally.read}</td>
      <td class={missing ? "warn" : ""}>{missing}</td>
    </tr>
  );
}

function Reasons({ title, rows }: { title: string; rows: { text: string; example: string }[] }) {
  if (!rows.length) return null;
  return (
    <section>
      <h3>{title}</h3>
      <ul class="reasons">
        {rows.map(({ text, example }) => (
          <li key={text}>
            {text}
            {example && <small>{example}</small>}
          </li>
        ))}
      </ul>
    </section>
  );
}
