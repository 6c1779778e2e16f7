import { describe, expect, it } from "vitest";

import { cornerAt, edgeAt, insertCorner, moveCorner, removeCorner } from "../src/polygons";
import type { Polygon } from "../src/types";

describe("polygons", () => {
  const square: Polygon = { outer: [[0, 0], [10, 0], [10, 10], [0, 10]], holes: [[[4, 4], [6, 4], [5, 6]]] };

  it("finds corners and edges within a radius", () => {
    expect(cornerAt([square], [9, 1], 2)).toEqual({ polygon: 0, ring: 0, corner: 1 });
    expect(cornerAt([square], [5, 5.2], 1)).toEqual({ polygon: 0, ring: 1, corner: 2 });
    expect(cornerAt([square], [5, 0], 2)).toBeNull();
    expect(edgeAt([square], [5, 0.5], 1)).toEqual({ polygon: 0, ring: 0, corner: 1 });
    expect(edgeAt([square], [0.5, 5], 1)).toEqual({ polygon: 0, ring: 0, corner: 4 });
  });

  it("moves, inserts and removes corners without changing the original", () => {
    const copy = structuredClone(square);
    expect(moveCorner([square], { polygon: 0, ring: 0, corner: 2 }, [12, 12])[0]!.outer[2]).toEqual([12, 12]);
    expect(insertCorner([square], { polygon: 0, ring: 0, corner: 4 }, [-1, 5])[0]!.outer).toHaveLength(5);
    expect(removeCorner([square], { polygon: 0, ring: 1, corner: 0 })[0]!.holes).toEqual([]);
    const triangle: Polygon = { outer: [[0, 0], [1, 0], [0, 1]], holes: [] };
    expect(removeCorner([triangle], { polygon: 0, ring: 0, corner: 0 })).toEqual([]);
    expect(square).toEqual(copy);
  });
});
