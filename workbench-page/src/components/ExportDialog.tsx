import { useEffect, useState } from "preact/hooks";

import * as api from "../api";
import { flush } from "../editor";
import { refreshProject } from "../jobs";
import * as store from "../store";
import type { ExportResult, ImageState } from "../types";
import { counted } from "./format";
import { Icon } from "./Icon";
import { Modal } from "./Modal";

const FORMATS: Record<string, string> = {
  coco: "COCO (one JSON file)",
  yolo: "YOLO (polygons, one text file per image)",
  masks: "PNG masks (one per class and image)",
  labelme: "Labelme (polygons, one JSON file per image)",
  voc: "Pascal VOC (boxes and masks, one XML file per image)",
  "label-studio": "Label Studio (polygons, one JSON file)",
  cvat: "CVAT (polygons, one XML file)",
  instances: "Instance maps (16-bit PNG, one number per object)",
  labelmap: "Class maps (PNG, one number per class)",
  "sa-1b": "SA-1B (masks, one JSON file per image)",
};

const STATES: { state: ImageState; text: string }[] = [
  { state: "accepted", text: "Accepted" },
  { state: "proposed", text: "Proposed by an adapter, not accepted" },
  { state: "open", text: "Drafts" },
];

export function ExportDialog() {
  const { formats, rleFormats, classes, classObjects } = store.project.value!;
  const { accepted, proposed } = store.stateCounts.value;
  const counts: Partial<Record<ImageState, number>> = { accepted, proposed, open: store.draftCount.value };
  const [format, setFormat] = useState(formats[0] ?? "coco");
  const [states, setStates] = useState<ImageState[]>(["accepted"]);
  const [left, setLeft] = useState<string[]>([]);
  const [val, setVal] = useState(0);
  const [rle, setRle] = useState(false);
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<ExportResult | null>(null);
  const canRle = rleFormats.includes(format);
  const chosen = classes.map((one) => one.name).filter((name) => !left.includes(name));
  const toggle = <T,>(list: T[], item: T) => (list.includes(item) ? list.filter((one) => one !== item) : [...list, item]);
  const onSubmit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setResult(null);
    try {
      await flush();
      const options: Record<string, boolean> = canRle && rle ? { rle } : {};
      setResult(await api.createExport({ format, states, classes: left.length ? chosen : null, val, options }));
    } catch (error) {
      store.notifyError(error);
    } finally {
      setBusy(false);
    }
  };
  useEffect(() => {
    refreshProject().catch(store.notifyError);
  }, []);
  const count = states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  const empty = count === 0 || chosen.length === 0;
  return (
    <Modal title="Export annotations">
      <form class="export" onSubmit={(event) => void onSubmit(event)}>
        <label>
          <span>Format</span>
          <select id="format" value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
            {formats.map((one) => (
              <option key={one} value={one}>
                {FORMATS[one] ?? one}
              </option>
            ))}
          </select>
        </label>
        <fieldset>
          <legend>Images</legend>
          {STATES.filter(({ state }) => state === "accepted" || counts[state]).map(({ state, text }) => (
            <label class="check" key={state}>
              <input
                type="checkbox"
                data-state={state}
                checked={states.includes(state)}
                onChange={() => setStates(toggle(states, state))}
              />
              {text} <small>({counts[state]})</small>
            </label>
          ))}
        </fieldset>
        {classes.length > 1 && (
          <details class="chosen-classes">
            <summary>
              Classes: {left.length ? `${chosen.length} of ${classes.length}` : "all"}
            </summary>
            <div class="check-list">
              {classes.map(({ name }) => (
                <label class="check" key={name}>
                  <input type="checkbox" checked={!left.includes(name)} onChange={() => setLeft(toggle(left, name))} />
                  {name} <small>({classObjects[name] ?? 0})</small>
                </label>
              ))}
            </div>
          </details>
        )}
        <label>
          <span>For validation</span>
          <select id="val" value={String(val)} onChange={(event) => setVal(Number(event.currentTarget.value))}>
            <option value="0">nothing, all images in one data set</option>
            {[0.1, 0.2, 0.3].map((share) => (
              <option key={share} value={String(share)}>
                {Math.round(100 * share)}% of the images, near-duplicates kept together
              </option>
            ))}
          </select>
        </label>
        {canRle && (
          <label>
            <span>Masks as</span>
            <select id="rle" value={rle ? "rle" : "polygons"} onChange={(event) => setRle(event.currentTarget.value === "rle")}>
              <option value="polygons">polygons, within half a pixel</option>
              <option value="rle">run lengths, exact</option>
            </select>
          </label>
        )}
        <button class="primary wide" id="make-export" disabled={busy || empty}>
          {busy ? <span class="spinner" /> : <Icon name="download" />}{" "}
          {empty ? "No images to export" : `Export ${counted(count, "image")}`}
        </button>
      </form>
      {result && <Result result={result} />}
    </Modal>
  );
}

function Result({ result }: { result: ExportResult }) {
  return (
    <div class="result good" role="status">
      <p>
        Exported {counted(result.images, "image")} with {counted(result.objects, "object")} to <code>{result.folder}</code>
      </p>
      {result.notes.length > 0 && (
        <ul class="notes">
          {result.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      {result.loading && (
        <>
          <p>How to load it:</p>
          <pre id="loading">{result.loading}</pre>
        </>
      )}
      <a class="button primary wide" id="download" href={result.url} download={`${result.name}.zip`}>
        Download {result.name}.zip
      </a>
    </div>
  );
}
