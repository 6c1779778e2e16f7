/** Over the canvas: tools, brush, undo, masks. */

import { newObject } from "../prompting";
import * as store from "../store";
import { redo, undo } from "../work";
import { Do } from "./Do";
import { Icon, type IconName } from "./icons";

const TOOLS: [store.Tool, IconName, string, string][] = [
  ["smart", "smart", "Click and box", "S"],
  ["brush", "brush", "Brush", "B"],
  ["eraser", "eraser", "Eraser", "E"],
  ["polygon", "polygon", "Polygon", "P"],
  ["select", "select", "Select and move", "V"],
];

export function Toolbar() {
  const brushing = store.tool.value === "brush" || store.tool.value === "eraser";
  return (
    <div class="toolbar" role="toolbar" aria-label="Tools">
      <div class="group" role="radiogroup" aria-label="Tool">
        {TOOLS.map(([tool, icon, name, key]) => (
          <button
            key={tool}
            class="tool"
            role="radio"
            aria-checked={store.tool.value === tool}
            aria-label={name}
            title={`${name} (${key})`}
            onClick={() => {
              store.polygonDraft.value = null;
              store.tool.value = tool;
            }}
          >
            <Icon name={icon} />
            <kbd>{key}</kbd>
          </button>
        ))}
      </div>
      {brushing && <BrushSize />}
      {store.tool.value === "smart" && <ClickMode />}
      <span class="grow" />
      <div class="group">
        <Do icon="undo" name="Undo (Ctrl+Z)" off={!store.canUndo.value} run={undo} />
        <Do icon="redo" name="Redo (Ctrl+Shift+Z)" off={!store.canRedo.value} run={redo} />
      </div>
      <div class="group">
        <Do icon={store.allHidden.value ? "eyeOff" : "eye"} name="Hide or show all masks (H)" run={() => (store.allHidden.value = !store.allHidden.value)} />
        <label class="slider" title="How strongly masks cover the picture">
          <span class="sr">Opacity of masks</span>
          <input type="range" min="0" max="0.9" step="0.05" value={store.opacity.value} onInput={(event) => (store.opacity.value = Number(event.currentTarget.value))} />
        </label>
      </div>
    </div>
  );
}

function BrushSize() {
  return (
    <label class="slider wide" title="Brush size in pixels of the picture ([ and ])">
      <span>Size</span>
      <input type="range" min={store.BRUSH.least} max={store.BRUSH.most / 2} value={store.brush.value} onInput={(event) => store.setBrush(Number(event.currentTarget.value))} />
      <output>{store.brush.value} px</output>
    </label>
  );
}

function ClickMode() {
  const each = store.onePerClick.value;
  const working = store.selectedId.value !== null;
  return (
    <div class="group">
      <button
        class="chip"
        role="switch"
        aria-checked={each}
        title="Whether each click begins an object or adds to the one under work; Shift turns it round for one click (O)"
        onClick={() => (store.onePerClick.value = !each)}
      >
        {each ? "Each click: new object" : "Clicks: one object"}
      </button>
      {!each && (
        <button class="chip" disabled={!working} title="The next click begins another object (N)" onClick={newObject}>
          <Icon name="plus" size={14} /> New object <kbd>N</kbd>
        </button>
      )}
    </div>
  );
}
