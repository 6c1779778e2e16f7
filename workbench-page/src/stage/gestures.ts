/** Turns pointer events of mouse, pen and touch into gestures. Positions are CSS pixels of the element. */

import type { Point } from "../types";

export interface Modifiers {
  /** Right button, Alt or a long press. */
  negative: boolean;
  shift: boolean;
  touch: boolean;
}

export interface GestureHandlers {
  tap(at: Point, modifiers: Modifiers): void;
  /** False: the rest of this drag is ignored. */
  dragStart(at: Point, modifiers: Modifiers): boolean;
  drag(at: Point, modifiers: Modifiers): void;
  dragEnd(at: Point, modifiers: Modifiers): void;
  dragCancel(): void;
  pan(dx: number, dy: number): void;
  pinch(at: Point, factor: number): void;
  hover(at: Point | null): void;
  doubleClick(at: Point): void;
  /** Whether a plain drag pans. */
  dragPans(): boolean;
  /** Pixels that a pointer may move during a tap. */
  tapTolerance(touch: boolean): number;
}

type Phase = "idle" | "down" | "drag" | "pan" | "pinch" | "ignored";

const LONG_PRESS = 500;

/** Listens to an element. Returns a function that removes the listeners. */
export function listenForGestures(element: HTMLElement, handlers: GestureHandlers): () => void {
  const pointers = new Map<number, Point>();
  let phase: Phase = "idle";
  let start: Point = [0, 0];
  let last: Point = [0, 0];
  let modifiers: Modifiers = { negative: false, shift: false, touch: false };
  let longPressTimer: ReturnType<typeof setTimeout> | undefined;

  const positionOf = (event: { clientX: number; clientY: number }): Point => {
    const frame = element.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const exceedsTap = (at: Point) =>
    Math.hypot(at[0] - start[0], at[1] - start[1]) > handlers.tapTolerance(modifiers.touch);

  const onDown = (event: PointerEvent) => {
    if (event.pointerType === "mouse" && event.button > 2) return;
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, positionOf(event));
    if (pointers.size === 2) return startPinch();
    if (pointers.size > 2) return;
    [start, last] = [positionOf(event), positionOf(event)];
    modifiers = {
      negative: event.button === 2 || event.altKey,
      shift: event.shiftKey,
      touch: event.pointerType !== "mouse",
    };
    if (event.button === 1) {
      event.preventDefault();
      phase = "pan";
      return;
    }
    phase = "down";
    if (handlers.dragPans() && event.button === 0) return;
    if (handlers.tapTolerance(modifiers.touch) === 0) startDrag(start);
    else if (modifiers.touch) longPressTimer = setTimeout(onLongPress, LONG_PRESS);
  };

  const onLongPress = () => {
    if (phase !== "down") return;
    phase = "ignored";
    navigator.vibrate?.(15);
    handlers.tap(start, { ...modifiers, negative: true });
  };

  const startPinch = () => {
    clearTimeout(longPressTimer);
    if (phase === "drag") handlers.dragCancel();
    phase = "pinch";
  };

  const startDrag = (at: Point) => {
    clearTimeout(longPressTimer);
    if (handlers.dragPans()) phase = "pan";
    else phase = handlers.dragStart(start, modifiers) ? "drag" : "ignored";
    if (phase === "drag" && at !== start) handlers.drag(at, modifiers);
  };

  const onMove = (event: PointerEvent) => {
    const at = positionOf(event);
    if (!pointers.has(event.pointerId)) return handlers.hover(event.pointerType === "touch" ? null : at);
    if (phase === "pinch") return pinch(event.pointerId, at);
    pointers.set(event.pointerId, at);
    if (event.pointerType !== "touch") handlers.hover(at);
    if (phase === "down" && exceedsTap(at)) startDrag(at);
    else if (phase === "drag") {
      for (const one of coalesced(event)) handlers.drag(one, { ...modifiers, shift: event.shiftKey });
    }
    if (phase === "pan") handlers.pan(at[0] - last[0], at[1] - last[1]);
    last = at;
  };

  /** All positions since the last event, so that a fast stroke stays smooth. */
  const coalesced = (event: PointerEvent): Point[] => {
    const events = event.getCoalescedEvents?.() ?? [];
    return events.length ? events.map(positionOf) : [positionOf(event)];
  };

  const pinch = (id: number, at: Point) => {
    const other = [...pointers].find(([key]) => key !== id)?.[1];
    const before = pointers.get(id)!;
    pointers.set(id, at);
    if (!other || pointers.size !== 2) return;
    const distance = (point: Point) => Math.max(Math.hypot(point[0] - other[0], point[1] - other[1]), 1);
    handlers.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    handlers.pinch([(at[0] + other[0]) / 2, (at[1] + other[1]) / 2], distance(at) / distance(before));
  };

  const onUp = (event: PointerEvent) => {
    if (!pointers.delete(event.pointerId)) return;
    clearTimeout(longPressTimer);
    if (phase === "pinch") {
      if (pointers.size === 0) phase = "idle";
      else if (pointers.size === 1) phase = "ignored";
      return;
    }
    if (pointers.size) return;
    const ended = phase;
    phase = "idle";
    if (ended === "down") handlers.tap(start, modifiers);
    if (ended === "drag") handlers.dragEnd(positionOf(event), { ...modifiers, shift: event.shiftKey });
  };

  const onCancel = (event: PointerEvent) => {
    pointers.delete(event.pointerId);
    clearTimeout(longPressTimer);
    if (phase === "drag") handlers.dragCancel();
    phase = pointers.size ? "ignored" : "idle";
  };

  const onWheel = (event: WheelEvent) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 200 : 1;
    if (event.shiftKey && !event.ctrlKey) return handlers.pan(-(event.deltaX || event.deltaY) * unit, 0);
    const speed = event.ctrlKey ? 0.01 : 0.0016; // browsers report a pinch on a trackpad as Ctrl and wheel
    handlers.pinch(positionOf(event), Math.exp(-event.deltaY * unit * speed));
  };

  const listeners: [string, EventListener][] = [
    ["pointerdown", onDown as EventListener],
    ["pointermove", onMove as EventListener],
    ["pointerup", onUp as EventListener],
    ["pointercancel", onCancel as EventListener],
    ["pointerleave", () => handlers.hover(null)],
    ["wheel", onWheel as EventListener],
    ["contextmenu", (event) => event.preventDefault()],
    ["dblclick", (event) => handlers.doubleClick(positionOf(event as MouseEvent))],
    ["auxclick", (event) => event.preventDefault()],
  ];
  for (const [name, listener] of listeners) element.addEventListener(name, listener, { passive: false });
  return () => {
    clearTimeout(longPressTimer);
    for (const [name, listener] of listeners) element.removeEventListener(name, listener);
  };
}
