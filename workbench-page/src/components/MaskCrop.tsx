/** A crop of an image with a mask on it. */

import { useEffect, useRef } from "preact/hooks";

import type { Mask } from "../mask";
import { outlineOf, spriteOf } from "../stage/draw";
import type { Box } from "../types";

interface Props {
  image: HTMLImageElement | null;
  mask: Mask;
  color: string;
  /** The annotated mask, drawn as a dashed line. */
  truth?: Mask;
  crop: Box;
  label: string;
}

/** A crop that contains all boxes, with some context and an aspect ratio of 4:3 where the image allows it. */
export function cropAround(boxes: Box[], width: number, height: number): Box {
  const nonEmpty = boxes.filter(([x0, y0, x1, y1]) => x1 > x0 && y1 > y0);
  if (!nonEmpty.length) return [0, 0, width, height];
  const [x0, y0] = [Math.min(...nonEmpty.map((box) => box[0])), Math.min(...nonEmpty.map((box) => box[1]))];
  const [x1, y1] = [Math.max(...nonEmpty.map((box) => box[2])), Math.max(...nonEmpty.map((box) => box[3]))];
  const halfWidth = Math.max((x1 - x0) * 0.65, ((y1 - y0) * 0.65 * 4) / 3, 32);
  const cropWidth = Math.min(2 * halfWidth, width);
  const cropHeight = Math.min(2 * halfWidth * 0.75, height);
  const left = Math.min(Math.max((x0 + x1) / 2 - cropWidth / 2, 0), width - cropWidth);
  const top = Math.min(Math.max((y0 + y1) / 2 - cropHeight / 2, 0), height - cropHeight);
  return [left, top, left + cropWidth, top + cropHeight];
}

export function MaskCrop(props: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => drawCrop(canvas.current!, props));
  return <canvas ref={canvas} class="crop" role="img" aria-label={props.label} />;
}

function drawCrop(canvas: HTMLCanvasElement, { image, mask, color, truth, crop }: Props): void {
  if (!image) return;
  const [cropWidth, cropHeight] = [crop[2] - crop[0], crop[3] - crop[1]];
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  const context = canvas.getContext("2d")!;
  const scale = Math.min(canvas.width / cropWidth, canvas.height / cropHeight);
  context.translate((canvas.width - cropWidth * scale) / 2, (canvas.height - cropHeight * scale) / 2);
  context.scale(scale, scale);
  context.translate(-crop[0], -crop[1]);
  context.drawImage(image, 0, 0, mask.width, mask.height);
  if (mask.w) {
    context.globalAlpha = 0.45;
    context.drawImage(spriteOf(mask, color), mask.x, mask.y);
    context.globalAlpha = 1;
  }
  const pixels = ratio / scale;
  const strokeOutline = (outlined: Mask, style: string, width: number) => {
    context.strokeStyle = style;
    context.lineWidth = width * pixels;
    context.stroke(outlineOf(outlined));
  };
  strokeOutline(mask, "rgba(0,0,0,.55)", 3);
  strokeOutline(mask, color, 1.75);
  if (!truth) return;
  context.setLineDash([4 * pixels, 3 * pixels]);
  strokeOutline(truth, "#fff", 1.5);
}
