/** The IoU map: the IoU that a click at each place would give, as colors from dark (0) to bright (1). */

import type { IouMap, Point } from "../types";
import type { Size } from "../view";

/** Dark violet, blue, green, yellow: ordered in brightness, so readable in gray and with any color vision. */
const STOPS: [number, number, number][] = [
  [53, 14, 87],
  [52, 81, 143],
  [30, 143, 140],
  [104, 200, 84],
  [250, 230, 60],
];

export function iouColor(iou: number): string {
  const position = Math.min(Math.max(iou, 0), 1) * (STOPS.length - 1);
  const index = Math.min(Math.floor(position), STOPS.length - 2);
  const t = position - index;
  const mix = (channel: 0 | 1 | 2) => Math.round(STOPS[index]![channel] * (1 - t) + STOPS[index + 1]![channel] * t);
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
}

const rendered = new WeakMap<IouMap, HTMLCanvasElement>();

export function drawIouMap(context: CanvasRenderingContext2D, map: IouMap, image: Size): void {
  if (!map.x.length || !map.y.length) return;
  const [stepX, stepY] = [spacing(map.x, image.width), spacing(map.y, image.height)];
  const [x, y] = [map.x[0]! - stepX / 2, map.y[0]! - stepY / 2];
  context.save();
  context.globalAlpha = 0.7;
  context.imageSmoothingEnabled = false;
  context.drawImage(render(map), x, y, stepX * map.x.length, stepY * map.y.length);
  context.restore();
}

/** One pixel for each cell of the grid. */
function render(map: IouMap): HTMLCanvasElement {
  const cached = rendered.get(map);
  if (cached) return cached;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [map.x.length, map.y.length];
  const context = canvas.getContext("2d")!;
  map.grid.forEach((row, y) =>
    row.forEach((iou, x) => {
      context.fillStyle = iouColor(iou);
      context.fillRect(x, y, 1, 1);
    }),
  );
  rendered.set(map, canvas);
  return canvas;
}

const spacing = (coordinates: readonly number[], size: number) =>
  coordinates.length > 1 ? (coordinates[coordinates.length - 1]! - coordinates[0]!) / (coordinates.length - 1) : size;

/** The IoU of the grid cell at a point; null outside the map. */
export function iouAt(map: IouMap, [x, y]: Point, image: Size): number | null {
  const [stepX, stepY] = [spacing(map.x, image.width), spacing(map.y, image.height)];
  const column = Math.round((x - map.x[0]!) / stepX);
  const row = Math.round((y - map.y[0]!) / stepY);
  return map.grid[row]?.[column] ?? null;
}
