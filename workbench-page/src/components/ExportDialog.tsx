import { useState } from "preact/hooks";

import * as api from "../api";
import { flush } from "../editor";
import * as store from "../store";
import type { ExportResult } from "../types";
import { counted } from "./format";
import { Icon } from "./Icon";
import { Modal } from "./Modal";

const FORMATS: Record<string, string> = {
  coco: "COCO (polygons, one JSON file)",
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

export function ExportDialog() {
  const { formats } = store.project.value!;
  const { accepted, proposed } = store.stateCounts.value;
  const [format, setFormat] = useState(formats[0] ?? "coco");
  const [includeProposed, setIncludeProposed] = useState(false);
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<ExportResult | null>(null);
  const onSubmit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setResult(null);
    try {
      await flush();
      setResult(await api.createExport(format, includeProposed ? ["accepted", "proposed"] : ["accepted"]));
    } catch (error) {
      store.notifyError(error);
    } finally {
      setBusy(false);
    }
  };
  const empty = accepted + (includeProposed ? proposed : 0) === 0;
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
          <label class="check">
            <input type="radio" name="states" checked={!includeProposed} onChange={() => setIncludeProposed(false)} />
            Accepted only <small>({accepted})</small>
          </label>
          <label class="check">
            <input type="radio" name="states" checked={includeProposed} onChange={() => setIncludeProposed(true)} />
            Accepted and proposed <small>({accepted + proposed})</small>
          </label>
        </fieldset>
        <button class="primary wide" id="make-export" disabled={busy || empty}>
          {busy ? <span class="spinner" /> : <Icon name="download" />} {empty ? "No images to export" : "Export"}
        </button>
      </form>
      {result && (
        <div class="result good" role="status">
          <p>
            Exported {counted(result.images, "image")} with {counted(result.objects, "object")} to{" "}
            <code>{result.folder}</code>
          </p>
          {result.notes.length > 0 && (
            <ul class="notes">
              {result.notes.map((note) => (
                <li key={note}>{note}</li>
              ))}
            </ul>
          )}
          <a class="button primary wide" id="download" href={result.url} download={`${result.name}.zip`}>
            Download {result.name}.zip
          </a>
        </div>
      )}
    </Modal>
  );
}
