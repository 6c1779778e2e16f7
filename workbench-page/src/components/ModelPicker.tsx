/** The model that predicts masks for prompts: the base model or an adapter. Switches for comparison, IoU map and preview. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { deleteAdapter } from "../jobs";
import { findObjects, promptless } from "../prompts";
import { iouColor } from "../stage/iou-map";
import * as store from "../store";
import { adapterDetails } from "./format";
import { Icon, type IconName } from "./Icon";
import { IconButton } from "./IconButton";
import { MiddleEllipsis } from "./MiddleEllipsis";

export function ModelPicker() {
  const { base, nextBase, adapters, brokenAdapters } = store.project.value!;
  const active = adapters.find((one) => one.name === store.activeAdapter.value);
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => showSelected(list.current!), [active, adapters.length]);
  return (
    <section aria-labelledby="models-title">
      <h2 id="models-title">Model</h2>
      <div class="models" ref={list} role="radiogroup" aria-labelledby="models-title">
        <ModelRow name={null} details={[base]}>
          <IconButton
            icon="pencil"
            label="Choose the base model"
            size={15}
            quiet
            onClick={() => (store.dialog.value = "base")}
          />
        </ModelRow>
        {nextBase && <p class="hint">Restart samtailor to use {nextBase}.</p>}
        {adapters.map((one) => (
          <ModelRow key={one.name} name={one.name} details={adapterDetails(one)}>
            <IconButton
              icon="compare"
              label={`Before and after: ${one.name}`}
              size={16}
              quiet
              onClick={() => store.showBeforeAfter(one.name)}
            />
            {one.deletable && (
              <IconButton icon="trash" label={`Delete ${one.name}`} size={15} quiet onClick={() => confirmDelete(one.name)} />
            )}
          </ModelRow>
        ))}
        {brokenAdapters.map((one) => (
          <p key={one.name} class="hint bad" role="alert">
            {one.name} could not be loaded: {one.error}
          </p>
        ))}
      </div>
      <div class="switches">
        <Switch icon="compare" text="Compare" shortcut="C" signal={store.compareOn} />
        <Switch icon="heatmap" text="IoU map" shortcut="M" signal={store.iouMapOn} />
        <Switch icon="preview" text="Preview" shortcut="U" signal={store.previewOn} />
        {active?.automatic && (
          <button class="chip" title="Find objects in this image with the adapter (A)" onClick={() => void findObjects()}>
            <Icon name="find" size={15} /> Find objects <kbd>A</kbd>
          </button>
        )}
      </div>
      {store.iouMapOn.value && <IouMapLegend />}
    </section>
  );
}

/** Scrolls the list to the selected model; `scrollIntoView` would move the whole panel too. */
function showSelected(list: HTMLElement): void {
  const row = list.querySelector<HTMLElement>(".model.selected");
  if (!row) return;
  const [rowBox, listBox] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
  if (rowBox.top < listBox.top) list.scrollTop -= listBox.top - rowBox.top;
  else if (rowBox.bottom > listBox.bottom) list.scrollTop += rowBox.bottom - listBox.bottom;
}

function confirmDelete(adapter: string): void {
  if (confirm(`Delete adapter ${adapter}? This cannot be undone.`)) void deleteAdapter(adapter);
}

interface ModelRowProps {
  /** Null: the base model. */
  name: string | null;
  details: [string, string?];
  children?: ComponentChildren;
}

function ModelRow({ name, details, children }: ModelRowProps) {
  const active = store.activeAdapter.value === name;
  const label = name ?? "Base model";
  return (
    <div class={`model${active ? " selected" : ""}`}>
      <button
        class="pick"
        role="radio"
        aria-checked={active}
        title={[label, ...details].join("\n") + (name === null ? "" : "\nIn parentheses: 95% interval. n: number of held-out objects.")}
        onClick={() => store.chooseAdapter(name)}
        data-adapter={name ?? ""}
      >
        <span class="radio" />
        <span class="about">
          <MiddleEllipsis text={label} />
          <small>{details[0]}</small>
          {active && details[1] && <small>{details[1]}</small>}
        </span>
      </button>
      {children}
    </div>
  );
}

interface SwitchProps {
  icon: IconName;
  text: string;
  shortcut: string;
  signal: { value: boolean };
}

function Switch({ icon, text, shortcut, signal }: SwitchProps) {
  return (
    <button class="chip" role="switch" aria-checked={signal.value} onClick={() => (signal.value = !signal.value)}>
      <Icon name={icon} size={15} /> {text} <kbd>{shortcut}</kbd>
    </button>
  );
}

function iouMapStatus(): string {
  if (promptless.value) return "This adapter ignores clicks, so there is no IoU map. Choose another model.";
  if (!store.selectedObject.value) return "Select an object to see its IoU map.";
  return store.iouMap.value ? "IoU with the selected object, by position of the click" : "Computing the IoU map…";
}

function IouMapLegend() {
  const stops = [0, 0.25, 0.5, 0.75, 1].map(iouColor).join(",");
  return (
    <div class="legend">
      <p class="hint" role="status">
        {iouMapStatus()}
      </p>
      <div class="scale" style={{ background: `linear-gradient(90deg, ${stops})` }} />
      <div class="scale-labels">
        <span>0</span>
        <span>0.5</span>
        <span>1</span>
      </div>
    </div>
  );
}
