/** Corners of polygons: finding, moving, adding, removing. Nothing is changed in place. */

import type { Point, Polygon } from "./types";

/** Indices of polygon, ring (0 = outer, then the holes) and corner. */
export interface CornerIndex {
  polygon: number;
  ring: number;
  corner: number;
}

export const ringsOf = (polygon: Polygon): Point[][] => [polygon.outer, ...polygon.holes];

const fromRings = ([outer, ...holes]: Point[][]): Polygon => ({ outer: outer!, holes });

/** The corner nearest to a point, within `radius`. */
export function cornerAt(polygons: readonly Polygon[], [x, y]: Point, radius: number): CornerIndex | null {
  let [nearest, minDistance]: [CornerIndex | null, number] = [null, radius * radius];
  polygons.forEach((one, polygon) =>
    ringsOf(one).forEach((points, ring) =>
      points.forEach(([cx, cy], corner) => {
        const distance = (cx - x) ** 2 + (cy - y) ** 2;
        if (distance <= minDistance) [nearest, minDistance] = [{ polygon, ring, corner }, distance];
      }),
    ),
  );
  return nearest;
}

/** The edge nearest to a point, within `radius`, as the index that a corner inserted there would have. */
export function edgeAt(polygons: readonly Polygon[], point: Point, radius: number): CornerIndex | null {
  let [nearest, minDistance]: [CornerIndex | null, number] = [null, radius];
  polygons.forEach((one, polygon) =>
    ringsOf(one).forEach((points, ring) =>
      points.forEach((start, corner) => {
        const distance = distanceToSegment(point, start, points[(corner + 1) % points.length]!);
        if (distance <= minDistance) [nearest, minDistance] = [{ polygon, ring, corner: corner + 1 }, distance];
      }),
    ),
  );
  return nearest;
}

function distanceToSegment([px, py]: Point, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const squaredLength = dx * dx + dy * dy;
  const t = squaredLength > 0 ? Math.min(1, Math.max(0, ((px - ax) * dx + (py - ay) * dy) / squaredLength)) : 0;
  return Math.hypot(px - ax - t * dx, py - ay - t * dy);
}

const mapRing = (polygons: readonly Polygon[], at: CornerIndex, change: (ring: Point[]) => Point[]): Polygon[] =>
  polygons.map((one, polygon) =>
    polygon === at.polygon ? fromRings(ringsOf(one).map((ring, index) => (index === at.ring ? change(ring) : ring))) : one,
  );

export const moveCorner = (polygons: readonly Polygon[], at: CornerIndex, to: Point): Polygon[] =>
  mapRing(polygons, at, (ring) => ring.map((corner, index) => (index === at.corner ? to : corner)));

export const insertCorner = (polygons: readonly Polygon[], at: CornerIndex, point: Point): Polygon[] =>
  mapRing(polygons, at, (ring) => [...ring.slice(0, at.corner), point, ...ring.slice(at.corner)]);

/** Removes a corner. A ring left with fewer than three is removed too; an outer ring takes its polygon with it. */
export function removeCorner(polygons: readonly Polygon[], at: CornerIndex): Polygon[] {
  return mapRing(polygons, at, (ring) => ring.filter((_, index) => index !== at.corner))
    .filter((one) => one.outer.length >= 3)
    .map((one) => ({ outer: one.outer, holes: one.holes.filter((hole) => hole.length >= 3) }));
}
