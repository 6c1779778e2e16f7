/** The IoU map: what a click at each place would give, from dark (0) to bright (1). */

import type { IouMap, Point } from "../contract";
import type { Size } from "../view";

/** Dark violet, blue, green, yellow: reads in grey and with any colour vision. */
const STOPS: [number, number, number][] = [
  [53, 14, 87],
  [52, 81, 143],
  [30, 143, 140],
  [104, 200, 84],
  [250, 230, 60],
];

export function colourAt(value: number): [number, number, number] {
  const place = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  const t = place - low;
  return STOPS[low]!.map((from, index) => Math.round(from + t * (STOPS[low + 1]![index]! - from))) as [number, number, number];
}

const pictures = new WeakMap<IouMap, HTMLCanvasElement>();

export function drawMap(context: CanvasRenderingContext2D, map: IouMap, picture: Size): void {
  if (!map.x.length || !map.y.length) return;
  const [stepX, stepY] = [spacing(map.x, picture.width), spacing(map.y, picture.height)];
  const [x, y] = [map.x[0]! - stepX / 2, map.y[0]! - stepY / 2];
  context.save();
  context.globalAlpha = 0.7;
  context.imageSmoothingEnabled = false;
  context.drawImage(cells(map), x, y, stepX * map.x.length, stepY * map.y.length);
  context.restore();
}

function cells(map: IouMap): HTMLCanvasElement {
  const old = pictures.get(map);
  if (old) return old;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [map.x.length, map.y.length];
  const context = canvas.getContext("2d")!;
  map.grid.forEach((row, y) =>
    row.forEach((value, x) => {
      context.fillStyle = `rgb(${colourAt(value).join(",")})`;
      context.fillRect(x, y, 1, 1);
    }),
  );
  pictures.set(map, canvas);
  return canvas;
}

const spacing = (places: readonly number[], whole: number) =>
  places.length > 1 ? (places[places.length - 1]! - places[0]!) / (places.length - 1) : whole;

/** The IoU of a click nearest to a position; null outside the map. */
export function valueAt(map: IouMap, [x, y]: Point, picture: Size): number | null {
  const [stepX, stepY] = [spacing(map.x, picture.width), spacing(map.y, picture.height)];
  const column = Math.round((x - map.x[0]!) / stepX);
  const row = Math.round((y - map.y[0]!) / stepY);
  return map.grid[row]?.[column] ?? null;
}
