/** Corners of polygons: finding, moving, adding, taking away. Nothing is changed in place. */

import type { Point, Polygon } from "./contract";

/** Polygon, ring (0 = outer, then the holes), corner. */
export interface Corner {
  polygon: number;
  ring: number;
  corner: number;
}

export const ringsOf = (polygon: Polygon): Point[][] => [polygon.outer, ...polygon.holes];

const fromRings = ([outer, ...holes]: Point[][]): Polygon => ({ outer: outer!, holes });

/** The corner nearest to a position, not further than `reach`. */
export function cornerAt(polygons: readonly Polygon[], [x, y]: Point, reach: number): Corner | null {
  let [best, least]: [Corner | null, number] = [null, reach * reach];
  polygons.forEach((one, polygon) =>
    ringsOf(one).forEach((ring, r) =>
      ring.forEach(([cx, cy], corner) => {
        const distance = (cx - x) ** 2 + (cy - y) ** 2;
        if (distance <= least) [best, least] = [{ polygon, ring: r, corner }, distance];
      }),
    ),
  );
  return best;
}

/** The edge nearest to a position, named by the corner that a new one would become; not further than `reach`. */
export function edgeAt(polygons: readonly Polygon[], at: Point, reach: number): Corner | null {
  let [best, least]: [Corner | null, number] = [null, reach];
  polygons.forEach((one, polygon) =>
    ringsOf(one).forEach((ring, r) =>
      ring.forEach((from, corner) => {
        const distance = toSegment(at, from, ring[(corner + 1) % ring.length]!);
        if (distance <= least) [best, least] = [{ polygon, ring: r, corner: corner + 1 }, distance];
      }),
    ),
  );
  return best;
}

function toSegment([px, py]: Point, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const long = dx * dx + dy * dy;
  const t = long > 0 ? Math.min(1, Math.max(0, ((px - ax) * dx + (py - ay) * dy) / long)) : 0;
  return Math.hypot(px - ax - t * dx, py - ay - t * dy);
}

const changed = (polygons: readonly Polygon[], at: Corner, change: (ring: Point[]) => Point[]): Polygon[] =>
  polygons.map((one, polygon) =>
    polygon === at.polygon ? fromRings(ringsOf(one).map((ring, r) => (r === at.ring ? change(ring) : ring))) : one,
  );

export const moved = (polygons: readonly Polygon[], at: Corner, to: Point): Polygon[] =>
  changed(polygons, at, (ring) => ring.map((corner, index) => (index === at.corner ? to : corner)));

export const inserted = (polygons: readonly Polygon[], at: Corner, where: Point): Polygon[] =>
  changed(polygons, at, (ring) => [...ring.slice(0, at.corner), where, ...ring.slice(at.corner)]);

/** Without that corner; a ring with fewer than three goes, and with its outer ring the polygon. */
export function removed(polygons: readonly Polygon[], at: Corner): Polygon[] {
  return changed(polygons, at, (ring) => ring.filter((_, index) => index !== at.corner))
    .filter((one) => one.outer.length >= 3)
    .map((one) => ({ outer: one.outer, holes: one.holes.filter((hole) => hole.length >= 3) }));
}
