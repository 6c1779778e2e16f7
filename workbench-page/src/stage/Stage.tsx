/** The canvas: the open image with its masks, and where the tools are used. */

import { effect, useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import * as store from "../store";
import { toScreen } from "../view";
import { draw } from "./draw";
import { listenForGestures } from "./gestures";
import { iouAt } from "./iou-map";
import { gestureHandlers } from "./tools";
import { canvasSize, fitImage, resizeCanvas } from "./viewport";

export function Stage() {
  const container = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const element = container.current!;
    const observer = new ResizeObserver(() => resizeCanvas({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    const cleanups = [listenForGestures(element, gestureHandlers), redrawOnChange(canvas.current!), fitNewImages()];
    return () => {
      observer.disconnect();
      cleanups.forEach((cleanup) => cleanup());
    };
  }, []);

  const cursor = useComputed(() => {
    if (store.panning.value || store.tool.value === "select") return "grab";
    return store.tool.value === "prompt" || store.tool.value === "polygon" ? "crosshair" : "none";
  });
  const name = store.openImage.value?.name ?? "none";
  return (
    <div
      ref={container}
      class="stage"
      id="stage"
      tabIndex={0}
      role="application"
      aria-roledescription="image canvas"
      aria-label={`Image: ${name}. Use the arrow keys to move the crosshair, Space to add, X to remove. Press ? for all shortcuts.`}
      data-ready={store.editable.value && !store.encoding.value}
      data-busy={store.pendingPrompt.value !== null}
      style={{ cursor: cursor.value }}
    >
      <canvas ref={canvas} aria-hidden="true" />
      <Notice />
      <IouTooltip />
    </div>
  );
}

/** Draws at most once in each animation frame. */
function redrawOnChange(canvas: HTMLCanvasElement): () => void {
  let frame = 0;
  const context = canvas.getContext("2d")!;
  const redraw = () => {
    frame = 0;
    const size = canvasSize.peek();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    draw(context, size, ratio);
    const { scale, x, y } = store.view.peek();
    canvas.dataset["view"] = `${scale} ${x} ${y}`; // lets browser tests convert image positions to screen positions
  };
  const stop = effect(() => {
    for (const one of DRAWN) void one.value;
    if (!frame) frame = requestAnimationFrame(redraw);
  });
  return () => {
    stop();
    cancelAnimationFrame(frame);
  };
}

/** Signals that `draw` reads. */
const DRAWN = [
  canvasSize,
  store.imageElement,
  store.openImage,
  store.project,
  store.view,
  store.objects,
  store.selectedId,
  store.hiddenIds,
  store.masksHidden,
  store.opacity,
  store.colorByObject,
  store.brightness,
  store.contrast,
  store.pendingPrompt,
  store.previewMask,
  store.iouMap,
  store.stroke,
  store.dragBox,
  store.polygonDraft,
  store.editedPolygons,
  store.pointer,
  store.crosshair,
  store.brushSize,
  store.tool,
  store.panning,
  store.activeClass,
];

const fitNewImages = () =>
  effect(() => {
    if (store.imageElement.value) fitImage();
  });

function Notice() {
  const error = store.openImage.value?.error;
  if (error) return <div class="notice" role="status">{error}</div>;
  if (!store.openImageId.value) return <div class="notice">Select an image in the list.</div>;
  if (!store.imageElement.value) return <div class="notice" role="status">Loading…</div>;
  if (!store.encoding.value) return null;
  return (
    <div class="notice small" role="status">
      <span class="spinner" /> Encoding image…
    </div>
  );
}

function IouTooltip() {
  const [map, pointer, image] = [store.iouMap.value, store.pointer.value, store.openImage.value];
  if (!map || !pointer || !image) return null;
  const iou = iouAt(map, pointer, image);
  if (iou === null) return null;
  const [x, y] = toScreen(store.view.value, pointer);
  return (
    <div class="tip" style={{ transform: `translate(${Math.round(x + 14)}px, ${Math.round(y + 14)}px)` }}>
      IoU of a click here: {iou.toFixed(2)}
    </div>
  );
}
