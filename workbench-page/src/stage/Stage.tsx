/** The middle of the page: the picture, what is marked on it, and where the pointer works. */

import { effect, useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import * as store from "../store";
import { draw } from "./draw";
import { listen } from "./gestures";
import { valueAt } from "./heat";
import { canvasSize, fit, resized } from "./sight";
import { gestures } from "./tools";
import { toScreen } from "../view";

export function Stage() {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const [box, sheet] = [frame.current!, canvas.current!];
    const watch = new ResizeObserver(() => resized({ width: box.clientWidth, height: box.clientHeight }));
    watch.observe(box);
    const stop = [listen(box, gestures), paintOnChange(sheet), fitNew()];
    return () => {
      watch.disconnect();
      stop.forEach((one) => one());
    };
  }, []);

  const cursor = useComputed(() => {
    if (store.panning.value || store.tool.value === "select") return "grab";
    return store.tool.value === "smart" || store.tool.value === "polygon" ? "crosshair" : "none";
  });
  const name = store.picture.value?.name ?? "no picture";
  return (
    <div
      ref={frame}
      class="stage"
      id="stage"
      tabIndex={0}
      role="application"
      aria-roledescription="picture canvas"
      aria-label={`Picture ${name}. Arrow keys move a cross-hair, Space clicks there, X says not the object. Question mark lists all keys.`}
      data-ready={store.opened.value && !store.encoding.value}
      data-busy={store.asking.value !== null}
      style={{ cursor: cursor.value }}
    >
      <canvas ref={canvas} aria-hidden="true" />
      <Notice />
      <Tip />
    </div>
  );
}

/** One frame for however many changes. */
function paintOnChange(sheet: HTMLCanvasElement): () => void {
  let asked = 0;
  const context = sheet.getContext("2d")!;
  const paint = () => {
    asked = 0;
    const size = canvasSize.peek();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (sheet.width !== width || sheet.height !== height) [sheet.width, sheet.height] = [width, height];
    draw(context, size, ratio);
    const { scale, x, y } = store.view.peek();
    sheet.dataset["view"] = `${scale} ${x} ${y}`; // where the picture lies, for whoever drives the page from outside
  };
  const stop = effect(() => {
    for (const one of WATCHED) void one.value;
    if (!asked) asked = requestAnimationFrame(paint);
  });
  return () => {
    stop();
    cancelAnimationFrame(asked);
  };
}

const WATCHED = [
  canvasSize,
  store.image,
  store.picture,
  store.project,
  store.view,
  store.items,
  store.selectedId,
  store.hidden,
  store.allHidden,
  store.opacity,
  store.asking,
  store.preview,
  store.map,
  store.strokeMask,
  store.dragBox,
  store.polygonDraft,
  store.vertices,
  store.pointer,
  store.crosshair,
  store.brush,
  store.tool,
  store.panning,
  store.activeClass,
];

/** Another picture is shown whole. */
const fitNew = () =>
  effect(() => {
    if (store.image.value) fit();
  });

function Notice() {
  const failed = store.picture.value?.error;
  if (failed) return <div class="notice" role="status">{failed}</div>;
  if (!store.openId.value) return <div class="notice">Choose a picture on the left.</div>;
  if (!store.image.value) return <div class="notice" role="status">Loading…</div>;
  if (!store.encoding.value) return null;
  return (
    <div class="notice small" role="status">
      <span class="spinner" /> Preparing the picture for clicks…
    </div>
  );
}

/** The value of the IoU map under the mouse. */
function Tip() {
  const [map, at, picture] = [store.map.value, store.pointer.value, store.picture.value];
  if (!map || !at || !picture) return null;
  const value = valueAt(map, at, picture);
  if (value === null) return null;
  const [x, y] = toScreen(store.view.value, at);
  return (
    <div class="tip" style={{ transform: `translate(${Math.round(x + 14)}px, ${Math.round(y + 14)}px)` }}>
      IoU {value.toFixed(2)} for a click here
    </div>
  );
}
