/** A small picture of a part of a picture with one mask on it. */

import { useEffect, useRef } from "preact/hooks";

import type { Box } from "../contract";
import { type Mask, outline } from "../mask";
import { spriteOf } from "../stage/draw";

interface Props {
  image: HTMLImageElement | null;
  mask: Mask;
  colour: string;
  /** The mask that is right, as a dashed line. */
  truth?: Mask;
  frame: Box;
  label: string;
}

/** The part of a picture around boxes, all of them in it, a little wider, square enough to look at. */
export function around(boxes: Box[], width: number, height: number): Box {
  const some = boxes.filter(([x0, y0, x1, y1]) => x1 > x0 && y1 > y0);
  if (!some.length) return [0, 0, width, height];
  const [x0, y0] = [Math.min(...some.map((b) => b[0])), Math.min(...some.map((b) => b[1]))];
  const [x1, y1] = [Math.max(...some.map((b) => b[2])), Math.max(...some.map((b) => b[3]))];
  const half = Math.max((x1 - x0) * 0.65, (y1 - y0) * 0.65 * 1.333, 32);
  const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
  const wide = Math.min(2 * half, width);
  const high = Math.min(2 * half * 0.75, height);
  const left = Math.min(Math.max(cx - wide / 2, 0), width - wide);
  const top = Math.min(Math.max(cy - high / 2, 0), height - high);
  return [left, top, left + wide, top + high];
}

export function Crop({ image, mask, colour, truth, frame, label }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (image) paint(canvas.current!, image, mask, colour, truth, frame);
  });
  return <canvas ref={canvas} class="crop" role="img" aria-label={label} />;
}

function paint(sheet: HTMLCanvasElement, image: HTMLImageElement, mask: Mask, colour: string, truth: Mask | undefined, frame: Box): void {
  const [wide, high] = [frame[2] - frame[0], frame[3] - frame[1]];
  const ratio = window.devicePixelRatio || 1;
  sheet.width = Math.max(1, Math.round(sheet.clientWidth * ratio));
  sheet.height = Math.max(1, Math.round(sheet.clientHeight * ratio));
  const context = sheet.getContext("2d")!;
  const scale = Math.min(sheet.width / wide, sheet.height / high);
  context.translate((sheet.width - wide * scale) / 2, (sheet.height - high * scale) / 2);
  context.scale(scale, scale);
  context.translate(-frame[0], -frame[1]);
  context.drawImage(image, 0, 0, mask.width, mask.height);
  if (mask.w) {
    context.globalAlpha = 0.45;
    context.drawImage(spriteOf(mask, colour), mask.x, mask.y);
    context.globalAlpha = 1;
  }
  line(context, mask, "rgba(0,0,0,.55)", (3 * ratio) / scale);
  line(context, mask, colour, (1.75 * ratio) / scale);
  if (!truth) return;
  context.setLineDash([(4 * ratio) / scale, (3 * ratio) / scale]);
  line(context, truth, "#fff", (1.5 * ratio) / scale);
}

function line(context: CanvasRenderingContext2D, mask: Mask, colour: string, width: number): void {
  const lines = outline(mask);
  context.beginPath();
  for (let at = 0; at < lines.length; at += 4) {
    context.moveTo(lines[at]!, lines[at + 1]!);
    context.lineTo(lines[at + 2]!, lines[at + 3]!);
  }
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}
