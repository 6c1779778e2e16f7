/** Right: classes, objects, the model that answers, teaching it. */

import { useEffect, useRef } from "preact/hooks";

import type { PictureState } from "../contract";
import * as objects from "../objects";
import * as store from "../store";
import type { Item } from "../store";
import { Classes } from "./Classes";
import { Icon } from "./icons";
import { Models } from "./Models";
import { Teach } from "./Teach";

export function Side() {
  return (
    <aside class="right" aria-label="Classes, objects and models">
      <Classes />
      <Objects />
      <Models />
      <Teach />
    </aside>
  );
}

function Objects() {
  const items = store.items.value;
  return (
    <section aria-labelledby="objects-title">
      <h2 id="objects-title">
        Objects <small>{items.length || ""}</small>
      </h2>
      {!items.length && <p class="hint">{store.opened.value ? NONE[store.state.value] : ""}</p>}
      <ul class="objects">
        {items.map((one, index) => (
          <ObjectRow key={one.id} item={one} number={index + 1} />
        ))}
      </ul>
    </section>
  );
}

const NONE: Record<PictureState, string> = {
  open: "None yet on this picture.",
  proposed: "The adapter found none on this picture.",
  accepted: "None on this picture.",
  failed: "",
};

function ObjectRow({ item, number }: { item: Item; number: number }) {
  const mine = item.id === store.selectedId.value;
  const hidden = store.hidden.value.has(item.id);
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (mine) bringIntoSight(row.current!);
  }, [mine]);
  const score = item.score === null ? "" : item.score.toFixed(2);
  return (
    <li ref={row} class={`object${mine ? " mine" : ""}`} data-object={item.id} data-source={item.source}>
      <button class="pick" aria-pressed={mine} onClick={() => (store.selectedId.value = mine ? null : item.id)}>
        <i class="swatch" style={{ background: store.colourOf(item.class) }} />
        <span>{number}</span>
      </button>
      <select
        aria-label={`Class of object ${number}`}
        value={item.class}
        onChange={(event) => objects.setClass(item.id, event.currentTarget.value)}
      >
        {store.project.value!.classes.map((one) => (
          <option key={one.name}>{one.name}</option>
        ))}
      </select>
      <span class="score" title={scoreTold(item)}>
        {score}
      </span>
      <button class="ghost" aria-label={`${hidden ? "Show" : "Hide"} object ${number}`} aria-pressed={hidden} onClick={() => objects.toggleHidden(item.id)}>
        <Icon name={hidden ? "eyeOff" : "eye"} size={16} />
      </button>
      <button class="ghost" aria-label={`Delete object ${number}`} onClick={() => objects.remove(item.id)}>
        <Icon name="trash" size={16} />
      </button>
    </li>
  );
}

/** Within its list alone; the panes around it stay where the user put them. */
function bringIntoSight(row: HTMLElement): void {
  const [list, place] = [row.parentElement!, row.getBoundingClientRect()];
  const sight = list.getBoundingClientRect();
  if (place.top < sight.top) list.scrollTop -= sight.top - place.top;
  else if (place.bottom > sight.bottom) list.scrollTop += place.bottom - sight.bottom;
}

function scoreTold(item: Item): string {
  const parts = [`by ${item.source}`];
  if (item.source !== "brush" && item.source !== "polygon") parts.push(item.adapter ?? "base");
  if (item.score !== null) parts.push(`predicted IoU ${item.score.toFixed(2)}`);
  if (item.uncertainty !== null) parts.push(`uncertainty ${item.uncertainty.toFixed(2)}`);
  return parts.join(" · ");
}
