/** Above the canvas: tools and their settings, undo, mask opacity. */

import { redo, undo } from "../editor";
import { deselect } from "../prompts";
import * as store from "../store";
import { Icon, type IconName } from "./Icon";
import { IconButton } from "./IconButton";

const TOOLS: { tool: store.Tool; icon: IconName; name: string; shortcut: string }[] = [
  { tool: "prompt", icon: "prompt", name: "Click or box", shortcut: "S" },
  { tool: "brush", icon: "brush", name: "Brush", shortcut: "B" },
  { tool: "eraser", icon: "eraser", name: "Eraser", shortcut: "E" },
  { tool: "polygon", icon: "polygon", name: "Polygon", shortcut: "P" },
  { tool: "select", icon: "select", name: "Select and pan", shortcut: "V" },
];

export function Toolbar() {
  const active = store.tool.value;
  const masksHidden = store.masksHidden.value;
  return (
    <div class="toolbar" role="toolbar" aria-label="Tools">
      <div class="group" role="radiogroup" aria-label="Tool">
        {TOOLS.map(({ tool, icon, name, shortcut }) => (
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
            <kbd>{shortcut}</kbd>
          </button>
        ))}
      </div>
      {(active === "brush" || active === "eraser") && <BrushSize />}
      {active === "prompt" && <ClickMode />}
      <span class="grow" />
      <div class="group">
        <IconButton icon="undo" label="Undo (Ctrl+Z)" disabled={!store.canUndo.value} onClick={undo} />
        <IconButton icon="redo" label="Redo (Ctrl+Shift+Z)" disabled={!store.canRedo.value} onClick={redo} />
      </div>
      <div class="group">
        <IconButton
          icon={masksHidden ? "eyeOff" : "eye"}
          label={`${masksHidden ? "Show" : "Hide"} all masks (H)`}
          onClick={() => (store.masksHidden.value = !masksHidden)}
        />
        <label class="slider" title="Mask opacity">
          <span class="visually-hidden">Mask opacity</span>
          <input
            type="range"
            min="0"
            max="0.9"
            step="0.05"
            value={store.opacity.value}
            onInput={(event) => (store.opacity.value = Number(event.currentTarget.value))}
          />
        </label>
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
        One object per click
      </button>
      {!perClick && (
        <button
          class="chip"
          disabled={store.selectedId.value === null}
          title="Start a new object with the next click (N)"
          onClick={deselect}
        >
          <Icon name="plus" size={14} /> New object <kbd>N</kbd>
        </button>
      )}
    </div>
  );
}
