/** Mouse, pen and fingers into few verbs: tap, drag, pan, pinch, long press. Positions in CSS pixels of the element. */

import type { Point } from "../contract";

export interface Mods {
  /** Right button, Alt or a long press. */
  negative: boolean;
  shift: boolean;
  touch: boolean;
}

export interface Gestures {
  tap(at: Point, mods: Mods): void;
  /** False: no drag is wanted here (the rest of the gesture is ignored). */
  dragStart(at: Point, mods: Mods): boolean;
  drag(at: Point, mods: Mods): void;
  dragEnd(at: Point, mods: Mods): void;
  dragCancel(): void;
  pan(dx: number, dy: number): void;
  pinch(at: Point, factor: number): void;
  hover(at: Point | null): void;
  double(at: Point): void;
  /** Whether a plain drag moves the picture. */
  pans(): boolean;
  /** Pixels that a pointer may move and still tap. */
  slop(touch: boolean): number;
}

type Phase = "idle" | "down" | "drag" | "pan" | "pinch" | "spent";

const LONG = 500;

/** Listens on an element; returns what undoes it. */
export function listen(element: HTMLElement, verbs: Gestures): () => void {
  const fingers = new Map<number, Point>();
  let phase: Phase = "idle";
  let start: Point = [0, 0];
  let from: Point = [0, 0];
  let mods: Mods = { negative: false, shift: false, touch: false };
  let timer: ReturnType<typeof setTimeout> | undefined;

  const at = (event: { clientX: number; clientY: number }): Point => {
    const frame = element.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const far = (point: Point) => Math.hypot(point[0] - start[0], point[1] - start[1]) > verbs.slop(mods.touch);

  const down = (event: PointerEvent) => {
    if (event.pointerType === "mouse" && event.button > 2) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    if (fingers.size === 2) return second();
    if (fingers.size > 2) return;
    [start, from] = [at(event), at(event)];
    mods = { negative: event.button === 2 || event.altKey, shift: event.shiftKey, touch: event.pointerType !== "mouse" };
    if (event.button === 1 || (verbs.pans() && event.button === 0)) {
      phase = event.button === 1 ? "pan" : "down";
      if (event.button === 1) event.preventDefault();
      return;
    }
    phase = "down";
    if (verbs.slop(mods.touch) === 0) begin(start);
    else if (mods.touch) timer = setTimeout(press, LONG);
  };

  const press = () => {
    if (phase !== "down") return;
    phase = "spent";
    navigator.vibrate?.(15);
    verbs.tap(start, { ...mods, negative: true });
  };

  const second = () => {
    clearTimeout(timer);
    if (phase === "drag") verbs.dragCancel();
    phase = "pinch";
  };

  const begin = (point: Point) => {
    clearTimeout(timer);
    if (verbs.pans()) phase = "pan";
    else phase = verbs.dragStart(start, mods) ? "drag" : "spent";
    if (phase === "drag" && point !== start) verbs.drag(point, mods);
  };

  const move = (event: PointerEvent) => {
    const point = at(event);
    if (!fingers.has(event.pointerId)) return verbs.hover(event.pointerType === "touch" ? null : point);
    if (phase === "pinch") return pinch(event.pointerId, point);
    fingers.set(event.pointerId, point);
    if (event.pointerType !== "touch") verbs.hover(point);
    if (phase === "down" && far(point)) begin(point);
    else if (phase === "drag") for (const one of steps(event)) verbs.drag(one, { ...mods, shift: event.shiftKey });
    if (phase === "pan") verbs.pan(point[0] - from[0], point[1] - from[1]);
    from = point;
  };

  /** All positions since the last event: a fast stroke stays round. */
  const steps = (event: PointerEvent): Point[] => {
    const all = event.getCoalescedEvents?.() ?? [];
    return all.length ? all.map(at) : [at(event)];
  };

  const pinch = (id: number, point: Point) => {
    const other = [...fingers].find(([key]) => key !== id)?.[1];
    const before = fingers.get(id)!;
    fingers.set(id, point);
    if (!other || fingers.size !== 2) return;
    const reach = (p: Point) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 1);
    verbs.pan((point[0] - before[0]) / 2, (point[1] - before[1]) / 2);
    verbs.pinch([(point[0] + other[0]) / 2, (point[1] + other[1]) / 2], reach(point) / reach(before));
  };

  const up = (event: PointerEvent) => {
    if (!fingers.delete(event.pointerId)) return;
    clearTimeout(timer);
    if (phase === "pinch") {
      if (fingers.size === 0) phase = "idle";
      else if (fingers.size === 1) phase = "spent";
      return;
    }
    if (fingers.size) return;
    const was = phase;
    phase = "idle";
    if (was === "down") verbs.tap(start, mods);
    if (was === "drag") verbs.dragEnd(at(event), { ...mods, shift: event.shiftKey });
  };

  const cancel = (event: PointerEvent) => {
    fingers.delete(event.pointerId);
    clearTimeout(timer);
    if (phase === "drag") verbs.dragCancel();
    phase = fingers.size ? "spent" : "idle";
  };

  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 200 : 1;
    if (event.shiftKey && !event.ctrlKey) return verbs.pan(-(event.deltaX || event.deltaY) * unit, 0);
    const speed = event.ctrlKey ? 0.01 : 0.0016; // a trackpad's pinch comes as ctrl + wheel
    verbs.pinch(at(event), Math.exp(-event.deltaY * unit * speed));
  };

  const pairs: [string, EventListener][] = [
    ["pointerdown", down as EventListener],
    ["pointermove", move as EventListener],
    ["pointerup", up as EventListener],
    ["pointercancel", cancel as EventListener],
    ["pointerleave", () => verbs.hover(null)],
    ["wheel", wheel as EventListener],
    ["contextmenu", (event) => event.preventDefault()],
    ["dblclick", (event) => verbs.double(at(event as MouseEvent))],
    ["auxclick", (event) => event.preventDefault()],
  ];
  for (const [name, listener] of pairs) element.addEventListener(name, listener, { passive: false });
  return () => {
    clearTimeout(timer);
    for (const [name, listener] of pairs) element.removeEventListener(name, listener);
  };
}
