/** Find similar: references, where to search, and the images in which something was found, the best match first. */

import { useState } from "preact/hooks";

import { sheetUrl } from "../api";
import { openImage } from "../editor";
import { counterexamples, examples, firstExamples, search, searchable } from "../find-similar";
import { searchResults } from "../image-queue";
import * as store from "../store";
import type { ImageInfo } from "../types";
import { ChosenObjects } from "./ChosenObjects";
import { counted } from "./format";
import { Icon } from "./Icon";
import { JobProgress } from "./JobProgress";
import { Modal } from "./Modal";

/** Result images that are shown at once. */
const SHOWN = 60;

export function FindDialog() {
  const job = store.job.value;
  const running = job?.state === "running";
  return (
    <Modal title="Find similar" wide>
      {running && <JobProgress job={job} again />}
      <div hidden={running /* keeps what was chosen */}>
        <FindForm />
      </div>
      {job?.kind === "find" && job.state === "failed" && (
        <p class="result bad" role="alert">
          {job.message}
        </p>
      )}
      {job?.kind === "find" && job.state === "done" && job.message && <p class="result good">{job.message}</p>}
      <Results />
    </Modal>
  );
}

function FindForm() {
  const { classes } = store.project.value!;
  const [name, setName] = useState(store.selectedObject.value?.class ?? store.activeClass.value);
  const [alike, setAlike] = useState<ReadonlySet<string>>(new Set(firstExamples(name)));
  const [unlike, setUnlike] = useState<ReadonlySet<string>>(new Set());
  const [minScore, setMinScore] = useState("");
  const [hereOnly, setHereOnly] = useState(false);
  const [shown, hidden] = [examples(name), counterexamples(name)];
  const chosen = store.chosenReferences.value;
  const count = chosen.filter((one) => one.alike).length + alike.size;
  const here = store.openImage.value;
  const rest = searchable();
  const choose = (next: string) => {
    setName(next);
    setAlike(new Set(firstExamples(next)));
    setUnlike(new Set());
  };
  return (
    <form
      class="find-form"
      onSubmit={(event) => {
        event.preventDefault();
        const threshold = minScore.trim() === "" ? null : Number(minScore);
        void search(name, alike, unlike, { threshold, here: hereOnly && here ? here.id : null });
      }}
    >
      <p class="hint">
        Finds objects like the references with the base model, without a fit. What is found is proposed, the best match
        first; images in which nothing is alike stay as they are. Your own annotations are not changed.
      </p>
      <div class="options">
        <label>
          <span>Class</span>
          <select id="find-class" value={name} onChange={(event) => choose(event.currentTarget.value)}>
            {classes.map((one) => (
              <option key={one.name}>{one.name}</option>
            ))}
          </select>
        </label>
        <label>
          <span>Minimum score</span>
          <input
            type="number"
            min="0"
            max="1"
            step="0.01"
            placeholder="from the references"
            value={minScore}
            onInput={(event) => setMinScore(event.currentTarget.value)}
          />
        </label>
      </div>
      {chosen.length > 0 && <ChosenObjects references={chosen} />}
      <ImageChoice title={`Images with all objects of ${name} marked`} images={shown} chosen={alike} onChange={setAlike} />
      {hidden.length > 0 && (
        <details>
          <summary>Images that show what not to find</summary>
          <ImageChoice title="" images={hidden} chosen={unlike} onChange={setUnlike} />
        </details>
      )}
      {count === 0 && (
        <p class="hint">Choose an image, or close this window, select an object and open it again. Several references help.</p>
      )}
      <div class="find-where" role="radiogroup" aria-label="Where to search">
        <label class="check">
          <input type="radio" name="where" checked={!hereOnly} onChange={() => setHereOnly(false)} />
          {counted(rest, "image")} without annotations of yours
        </label>
        <label class="check">
          <input type="radio" name="where" id="find-here" checked={hereOnly} disabled={!store.editable.value} onChange={() => setHereOnly(true)} />
          The open image only
        </label>
        <span class="grow" />
        <button class="primary" id="find-start" disabled={count === 0 || (!hereOnly && rest === 0)}>
          <Icon name="find" /> Find
        </button>
      </div>
    </form>
  );
}

interface ChoiceProps {
  title: string;
  images: readonly ImageInfo[];
  chosen: ReadonlySet<string>;
  onChange: (chosen: ReadonlySet<string>) => void;
}

function ImageChoice({ title, images, chosen, onChange }: ChoiceProps) {
  if (!images.length) return null;
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    onChange(next);
  };
  return (
    <>
      {title && <h3>{title}</h3>}
      <div class="sheet references">
        {images.slice(0, SHOWN).map((one) => (
          <button
            key={one.id}
            type="button"
            class={`tile${chosen.has(one.id) ? "" : " left"}`}
            data-reference={one.id}
            aria-pressed={chosen.has(one.id)}
            title={`${one.name}: ${counted(one.objects, "object")}`}
            onClick={() => toggle(one.id)}
          >
            <img src={sheetUrl(one.id, String(one.objects))} alt={one.name} loading="lazy" />
          </button>
        ))}
      </div>
      {images.length > SHOWN && <p class="hint">{images.length - SHOWN} more are not shown.</p>}
    </>
  );
}

function Results() {
  const [shown, setShown] = useState(SHOWN);
  const results = searchResults(store.images.value);
  if (!results.length) return null;
  return (
    <>
      <h3>Found, best match first</h3>
      <div class="sheet" id="find-results">
        {results.slice(0, shown).map((one) => (
          <button
            key={one.id}
            class="tile"
            title={`${one.name}: open`}
            onClick={() => {
              store.dialog.value = null;
              void openImage(one.id);
            }}
          >
            <img src={sheetUrl(one.id, `${one.objects}-${one.match}`)} alt={one.name} loading="lazy" />
            <span>
              {one.match!.toFixed(2)} · {counted(one.objects, "object")}
            </span>
          </button>
        ))}
      </div>
      {results.length > shown && (
        <button class="plain wide" onClick={() => setShown(shown + SHOWN)}>
          Show more ({results.length - shown})
        </button>
      )}
      <button class="plain" id="find-accept" onClick={() => (store.dialog.value = "accept-many")}>
        Accept many…
      </button>
    </>
  );
}
