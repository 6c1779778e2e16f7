/** The objects of the open image: select, change class, hide, delete. */

import { useEffect, useRef } from "preact/hooks";

import { openFindDialog } from "../find-similar";
import { deleteObject, setClass, toggleHidden } from "../object-actions";
import * as store from "../store";
import type { AnnotatedObject } from "../store";
import type { ImageState, Source } from "../types";
import { Icon } from "./Icon";
import { IconButton } from "./IconButton";

export function ObjectList() {
  const objects = store.objects.value;
  return (
    <section class="object-list" aria-labelledby="objects-title">
      <div class="spread">
        <h2 id="objects-title">
          Objects <small>{objects.length || ""}</small>
        </h2>
        {(store.selectedId.value !== null || store.usableCount.value > 0) && (
          <button
            class="chip"
            id="find-similar"
            title="Find objects like the selected one, or like those of accepted images (Shift+A)"
            onClick={openFindDialog}
          >
            <Icon name="find" size={15} /> Find similar…
          </button>
        )}
      </div>
      {!objects.length && <p class="hint">{store.editable.value ? EMPTY[store.imageState.value] : ""}</p>}
      <ul class="objects">
        {objects.map((one, index) => (
          <ObjectRow key={one.id} object={one} number={index + 1} />
        ))}
      </ul>
    </section>
  );
}

const EMPTY: Record<ImageState, string> = {
  open: "No objects yet.",
  proposed: "The adapter found no objects.",
  accepted: "No objects.",
  failed: "",
};

function ObjectRow({ object, number }: { object: AnnotatedObject; number: number }) {
  const selected = object.id === store.selectedId.value;
  const hidden = store.hiddenIds.value.has(object.id);
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (selected) scrollIntoList(row.current!);
  }, [selected]);
  return (
    <li ref={row} class={`object${selected ? " selected" : ""}`} data-object={object.id} data-source={object.source}>
      <button
        class="pick"
        aria-label={`Object ${number}`}
        aria-pressed={selected}
        onClick={() => (store.selectedId.value = selected ? null : object.id)}
      >
        <i class="swatch" style={{ background: store.objectColor(object) }} />
        <span>{number}</span>
      </button>
      <select
        aria-label={`Class of object ${number}`}
        value={object.class}
        onChange={(event) => setClass(object.id, event.currentTarget.value)}
      >
        {store.project.value!.classes.map((one) => (
          <option key={one.name}>{one.name}</option>
        ))}
      </select>
      <span class="score" title={origin(object)}>
        {object.score?.toFixed(2) ?? ""}
      </span>
      <IconButton
        icon={hidden ? "eyeOff" : "eye"}
        label={`${hidden ? "Show" : "Hide"} object ${number}`}
        size={16}
        pressed={hidden}
        onClick={() => toggleHidden(object.id)}
      />
      <IconButton icon="trash" label={`Delete object ${number}`} size={16} onClick={() => deleteObject(object.id)} />
    </li>
  );
}

/** Scrolls the list of objects only; `scrollIntoView` would move the whole panel too. */
function scrollIntoList(row: HTMLElement): void {
  const list = row.parentElement!;
  const [rowBox, listBox] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
  if (rowBox.top < listBox.top) list.scrollTop -= listBox.top - rowBox.top;
  else if (rowBox.bottom > listBox.bottom) list.scrollTop += rowBox.bottom - listBox.bottom;
}

const SOURCES: Record<Source, string> = {
  click: "Click",
  box: "Box",
  brush: "Brush",
  polygon: "Polygon",
  auto: "Automatic",
  find: "Found by references",
  import: "Imported",
};

/** How an object was made: "Click · base model · predicted IoU 0.94". */
function origin({ source, adapter, score, uncertainty }: AnnotatedObject): string {
  const parts = [SOURCES[source]];
  if (!["brush", "polygon", "import"].includes(source)) parts.push(adapter ?? "base model");
  if (score !== null) parts.push(`predicted IoU ${score.toFixed(2)}`);
  if (uncertainty !== null) parts.push(`uncertainty ${uncertainty.toFixed(2)}`);
  return parts.join(" · ");
}
