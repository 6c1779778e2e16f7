/** Above the canvas: tools and their settings, undo, mask opacity. */

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { redo, undo } from "../editor";
import { deselect } from "../prompts";
import { keyLabel, shortcutGroups } from "../shortcuts";
import * as store from "../store";
import { Icon, type IconName } from "./Icon";
import { IconButton } from "./IconButton";

/** `short` is written below the icon. */
const TOOLS: { tool: store.Tool; icon: IconName; name: string; short: string; shortcut: string }[] = [
  { tool: "prompt", icon: "prompt", name: "Click or box", short: "Click", shortcut: "S" },
  { tool: "brush", icon: "brush", name: "Brush", short: "Brush", shortcut: "B" },
  { tool: "eraser", icon: "eraser", name: "Eraser", short: "Eraser", shortcut: "E" },
  { tool: "polygon", icon: "polygon", name: "Polygon", short: "Polygon", shortcut: "P" },
  { tool: "select", icon: "select", name: "Select and pan", short: "Select", shortcut: "V" },
];

export function Toolbar() {
  const active = store.tool.value;
  return (
    <div class="toolbar" role="toolbar" aria-label="Tools">
      <div class="group" role="radiogroup" aria-label="Tool">
        {TOOLS.map(({ tool, icon, name, short, shortcut }) => (
          <button
            key={tool}
            class="tool"
            role="radio"
            aria-checked={active === tool}
            aria-label={name}
            title={`${name} (${shortcut})`}
            onClick={() => store.setTool(tool)}
          >
            <Icon name={icon} />
            <span class="tool-name">{short}</span>
            <kbd>{shortcut}</kbd>
          </button>
        ))}
      </div>
      {(active === "brush" || active === "eraser") && <BrushSize />}
      {active === "prompt" && <ClickMode />}
      <span class="grow" />
      <ObjectMenu />
      <div class="group">
        <IconButton icon="undo" label="Undo (Ctrl+Z)" disabled={!store.canUndo.value} onClick={undo} />
        <IconButton icon="redo" label="Redo (Ctrl+Shift+Z)" disabled={!store.canRedo.value} onClick={redo} />
      </div>
      <div class="group">
        <ViewMenu />
      </div>
    </div>
  );
}

function BrushSize() {
  const { min, max } = store.BRUSH_SIZE;
  const size = store.brushSize.value;
  return (
    <label class="slider wide" title="Brush size in image pixels ([ and ])">
      <span>Size</span>
      <input type="range" min={min} max={max / 2} value={size} onInput={(event) => store.setBrushSize(Number(event.currentTarget.value))} />
      <output>{size} px</output>
    </label>
  );
}

function ClickMode() {
  const perClick = store.newObjectPerClick.value;
  const title = perClick
    ? "Each click creates an object; Shift+click refines the selected one (O)"
    : "Clicks refine the selected object; Shift+click creates a new one (O)";
  return (
    <div class="group">
      <button class="chip" role="switch" aria-checked={perClick} title={title} onClick={() => (store.newObjectPerClick.value = !perClick)}>
        One per click
      </button>
      {!perClick && (
        <button
          class="chip"
          disabled={store.selectedId.value === null}
          title="Start a new object with the next click (N)"
          onClick={deselect}
        >
          <Icon name="plus" size={14} /> New object
        </button>
      )}
    </div>
  );
}

/** A menu that closes after a choice, on Escape and on a click elsewhere. */
function Menu({ label, title, id, children }: { label: string; title: string; id: string; children: ComponentChildren }) {
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const outside = !(event.target instanceof Node && details.current?.contains(event.target));
      if (details.current && (outside || (event instanceof KeyboardEvent && event.key === "Escape"))) details.current.open = false;
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, []);
  return (
    <details class="menu" ref={details} id={id}>
      <summary class="chip" title={title}>
        {label}
      </summary>
      <div class="menu-content" onClick={(event) => event.target instanceof Element && event.target.closest("button") && (details.current!.open = false)}>
        {children}
      </div>
    </details>
  );
}

function ObjectMenu() {
  const group = shortcutGroups.find((one) => one.name === "Selected object")!;
  return (
    <Menu label="Object ▾" title="Clean up, split, join or copy the selected object" id="object-menu">
      {store.selectedId.value === null && <p class="hint">Select an object first.</p>}
      {group.shortcuts.map(({ text, keys, run }) => (
        <button key={text} class="menu-item" disabled={store.selectedId.value === null} onClick={() => void run()}>
          {text} <kbd>{keyLabel(keys[0]!)}</kbd>
        </button>
      ))}
    </Menu>
  );
}

function ViewMenu() {
  const changed = store.brightness.value !== 1 || store.contrast.value !== 1;
  const marked = changed || store.masksHidden.value;
  const reset = () => (store.brightness.value = store.contrast.value = 1);
  return (
    <Menu label={marked ? "View • ▾" : "View ▾"} title="Masks, brightness and contrast" id="view-menu">
      <label class="check">
        <input
          type="checkbox"
          checked={!store.masksHidden.value}
          onChange={(event) => (store.masksHidden.value = !event.currentTarget.checked)}
        />
        Show masks <kbd>H</kbd>
      </label>
      <Slider text="Mask opacity" signal={store.opacity} min={0} max={0.9} />
      <Slider text="Brightness" signal={store.brightness} min={0.3} max={3} />
      <Slider text="Contrast" signal={store.contrast} min={0.3} max={3} />
      <label class="check">
        <input
          type="checkbox"
          checked={store.colorByObject.value}
          onChange={(event) => (store.colorByObject.value = event.currentTarget.checked)}
        />
        One color for each object <kbd>I</kbd>
      </label>
      {changed && (
        <button class="menu-item" onClick={reset}>
          Show the image as it is
        </button>
      )}
      <p class="hint">Brightness and contrast change only what you see.</p>
    </Menu>
  );
}

function Slider({ text, signal, min, max }: { text: string; signal: Signal<number>; min: number; max: number }) {
  return (
    <label class="slider wide">
      <span>{text}</span>
      <input
        type="range"
        min={min}
        max={max}
        step="0.05"
        value={signal.value}
        onInput={(event) => (signal.value = Number(event.currentTarget.value))}
      />
    </label>
  );
}
