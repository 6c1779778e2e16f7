/** What lies over the page: keys, export, gallery, conflict. */

import { useState } from "preact/hooks";

import * as api from "../api";
import type { Export } from "../contract";
import { groups } from "../keys";
import * as store from "../store";
import { flush, settle } from "../work";
import { Gallery } from "./Gallery";
import { Icon } from "./icons";
import { Modal } from "./Modal";

export function Dialogs() {
  switch (store.dialog.value) {
    case "help":
      return <Help />;
    case "export":
      return <ExportDialog />;
    case "gallery":
      return <Gallery />;
    case "conflict":
      return <Conflict />;
    default:
      return null;
  }
}

const SHOWN: Record<string, string> = {
  " ": "Space",
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
  Delete: "Del",
  Backspace: "⌫",
};

export function shownKey(combination: string): string {
  if (combination === "+") return "+";
  const shown = (part: string) => SHOWN[part] ?? (part.length === 1 ? part.toUpperCase() : part);
  return combination.split("+").map(shown).join("+");
}

function Help() {
  return (
    <Modal title="Keys and help" wide>
      <p class="hint">
        <b>The loop:</b> mark the objects on a few pictures and accept them, press Fit, let it label the rest, correct
        what is wrong (the least certain pictures come first), fit again if it is worth it, export.
      </p>
      <div class="keys">
        <section>
          <h3>Mouse and fingers</h3>
          <dl>
            <Row keys={["Click", "Tap"]} text="Object: the mask follows" />
            <Row keys={["Right click", "Alt+click", "Long press"]} text="Not the object" />
            <Row keys={["Drag"]} text="Box (Shift: box for the object under work)" />
            <Row keys={["Wheel", "Pinch"]} text="Zoom" />
            <Row keys={["Space+drag", "Middle button", "Two fingers"]} text="Move the picture" />
          </dl>
        </section>
        {groups.map((group) => (
          <section key={group.name}>
            <h3>{group.name}</h3>
            <dl>
              {group.keys.map((one) => (
                <Row key={one.text} keys={one.keys[0] === "1" ? ["1 … 9"] : one.keys.map(shownKey)} text={one.text} />
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Modal>
  );
}

function Row({ keys, text }: { keys: string[]; text: string }) {
  return (
    <div>
      <dt>
        {keys.map((one) => (
          <kbd key={one}>{one}</kbd>
        ))}
      </dt>
      <dd>{text}</dd>
    </div>
  );
}

const FORMATS: Record<string, string> = {
  coco: "COCO: polygons, one JSON",
  yolo: "YOLO: polygons, a text file a picture",
  masks: "Masks: a PNG for each class of a picture",
  labelme: "labelme: polygons, a JSON a picture",
  voc: "Pascal VOC: boxes only, an XML a picture",
  "label-studio": "Label Studio: polygons, one JSON of tasks",
  cvat: "CVAT: polygons, one XML",
};

function ExportDialog() {
  const project = store.project.value!;
  const counts = store.counts.value;
  const [format, setFormat] = useState(project.formats[0] ?? "coco");
  const [all, setAll] = useState(false);
  const [busy, setBusy] = useState(false);
  const [made, setMade] = useState<Export | null>(null);
  const start = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setMade(null);
    try {
      await flush();
      setMade(await api.makeExport(format, all ? ["accepted", "proposed"] : ["accepted"]));
    } catch (error) {
      store.complain(error);
    } finally {
      setBusy(false);
    }
  };
  const none = counts.accepted + (all ? counts.proposed : 0) === 0;
  return (
    <Modal title="Export">
      <form class="export" onSubmit={(event) => void start(event)}>
        <label>
          <span>Format</span>
          <select id="format" value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
            {project.formats.map((one) => (
              <option key={one} value={one}>
                {FORMATS[one] ?? one}
              </option>
            ))}
          </select>
        </label>
        <fieldset>
          <legend>Pictures</legend>
          <label class="check">
            <input type="radio" name="states" checked={!all} onChange={() => setAll(false)} />
            Accepted only <small>({counts.accepted})</small>
          </label>
          <label class="check">
            <input type="radio" name="states" checked={all} onChange={() => setAll(true)} />
            Accepted and proposed <small>({counts.accepted + counts.proposed})</small>
          </label>
        </fieldset>
        <button class="primary wide" id="make-export" disabled={busy || none}>
          {busy ? <span class="spinner" /> : <Icon name="download" />} {none ? "Nothing accepted yet" : "Make the export"}
        </button>
      </form>
      {made && (
        <div class="result good" role="status">
          <p>
            {made.pictures} pictures, {made.objects} objects, {made.files} files. Also on disk: <code>{made.folder}</code>
          </p>
          <a class="button primary wide" id="download" href={made.url} download={`${made.name}.zip`}>
            Download {made.name}.zip
          </a>
        </div>
      )}
    </Modal>
  );
}

function Conflict() {
  const choose = (mine: boolean) => void settle(mine).catch(store.complain);
  return (
    <Modal title="This picture was changed elsewhere">
      <p>
        Another tab (or a job) saved this picture after you opened it. Nothing has been overwritten. Which one shall
        stand? The other stays within reach of Undo here.
      </p>
      <div class="choices">
        <button class="primary" onClick={() => choose(true)}>
          Keep mine
        </button>
        <button class="plain" onClick={() => choose(false)}>
          Take theirs
        </button>
      </div>
    </Modal>
  );
}
