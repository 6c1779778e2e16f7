/** Which model answers clicks; comparing; IoU map. */

import type { Adapter } from "../contract";
import { removeAdapter } from "../jobs";
import { proposeHere, withoutClicks } from "../prompting";
import { colourAt } from "../stage/heat";
import * as store from "../store";
import { Icon, type IconName } from "./icons";
import { percent } from "./wording";

export function Models() {
  const { base, adapters, broken_adapters: broken = [] } = store.project.value!;
  const chosen = adapters.find((one) => one.name === store.adapter.value);
  return (
    <section aria-labelledby="models-title">
      <h2 id="models-title">Model that answers</h2>
      <div class="models" role="radiogroup" aria-labelledby="models-title">
        <Choice name="Base" about={base} mine={store.adapter.value === null} pick={() => store.choose(null)} />
        {adapters.map((one) => (
          <Choice key={one.name} name={one.name} about={about(one)} mine={store.adapter.value === one.name} pick={() => store.choose(one.name)} adapter={one} />
        ))}
        {broken.map((one) => (
          <p key={one.name} class="hint bad" role="alert">
            {one.name} cannot be read: {one.error}
          </p>
        ))}
      </div>
      <div class="switches">
        <Switch icon="compare" text="Compare" keys="C" on={store.comparing.value} flip={() => (store.comparing.value = !store.comparing.value)} />
        <Switch icon="heat" text="IoU map" keys="M" on={store.mapping.value} flip={() => (store.mapping.value = !store.mapping.value)} />
        <Switch icon="spark" text="Preview" keys="U" on={store.hovering.value} flip={() => (store.hovering.value = !store.hovering.value)} />
        {chosen?.auto && (
          <button class="chip" title="Let the adapter find objects on this picture (A)" onClick={() => void proposeHere()}>
            <Icon name="smart" size={15} /> Find here <kbd>A</kbd>
          </button>
        )}
      </div>
      {store.mapping.value && <Legend />}
    </section>
  );
}

function about(adapter: Adapter): string {
  const { figures, method, classes } = adapter;
  if (figures?.held_out_miou != null) {
    const alone = figures.held_out_region_miou == null ? "" : `; without a click ${percent(figures.held_out_region_miou)}`;
    return `held-out mIoU ${percent(figures.held_out_miou)}, base ${percent(figures.start_miou)}${alone}`;
  }
  return `${method} · ${classes.join(", ")}`;
}

function Choice(props: { name: string; about: string; mine: boolean; pick: () => void; adapter?: Adapter }) {
  const { name, mine, pick, adapter } = props;
  const remove = () => {
    if (adapter && confirm(`Delete the adapter ${adapter.name} for good?`)) void removeAdapter(adapter.name);
  };
  return (
    <div class={`model${mine ? " mine" : ""}`}>
      <button class="pick" role="radio" aria-checked={mine} onClick={pick} data-adapter={adapter?.name ?? ""}>
        <span class="radio" />
        <span class="about">
          <span class="name">{name}</span>
          <small>{props.about}</small>
        </span>
      </button>
      {adapter && (
        <>
          <button
            class="ghost quiet"
            aria-label={`Before and after of ${name}`}
            title="Before and after on held-out pictures"
            onClick={() => {
              store.galleryOf.value = name;
              store.dialog.value = "gallery";
            }}
          >
            <Icon name="eye" size={16} />
          </button>
          {adapter.own !== false && (
            <button class="ghost quiet" aria-label={`Delete ${name}`} title="Delete this adapter" onClick={remove}>
              <Icon name="trash" size={15} />
            </button>
          )}
        </>
      )}
    </div>
  );
}

function Switch({ icon, text, keys, on, flip }: { icon: IconName; text: string; keys: string; on: boolean; flip: () => void }) {
  return (
    <button class="chip" role="switch" aria-checked={on} onClick={flip}>
      <Icon name={icon} size={15} /> {text} <kbd>{keys}</kbd>
    </button>
  );
}

function mapTold(): string {
  if (withoutClicks.value) return "This adapter answers without a click: there is no map. Choose Base or another.";
  if (!store.selected.value) return "Select an object to map it.";
  return store.map.value ? "IoU with the selected object, by where one clicks:" : "Asking for a click at each place…";
}

function Legend() {
  const stops = [0, 0.25, 0.5, 0.75, 1].map((value) => `rgb(${colourAt(value).join(",")})`).join(",");
  return (
    <div class="legend">
      <p class="hint" role="status">
        {mapTold()}
      </p>
      <div class="scale" style={{ background: `linear-gradient(90deg, ${stops})` }} />
      <div class="ends">
        <span>0</span>
        <span>0.5</span>
        <span>1</span>
      </div>
    </div>
  );
}
