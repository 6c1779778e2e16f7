import { describe, expect, it } from "vitest";

import { filterImages, inQueueOrder, nextPending, otherPage, searchResults } from "../src/image-queue";
import { commonFolder } from "../src/image-queue";
import type { ImageInfo } from "../src/types";

const image = (name: string, state: ImageInfo["state"], uncertainty: number | null = null): ImageInfo => ({
  id: name,
  name,
  width: 10,
  height: 10,
  state,
  objects: 0,
  uncertainty,
  match: null,
  labels: {},
  page: 1,
  pages: 1,
  error: null,
});

describe("results of a search and pages of a stack", () => {
  it("shows the best match first, after proposals of adapters", () => {
    const found = (name: string, match: number) => ({ ...image(name, "proposed", 1 - match), match });
    const images = [image("open", "open"), found("worse", 0.4), found("better", 0.9), image("proposed", "proposed", 0.1)];
    expect(inQueueOrder(images).map((one) => one.name)).toEqual(["proposed", "better", "worse", "open"]);
    expect(searchResults(images).map((one) => one.name)).toEqual(["better", "worse"]);
  });

  it("finds the next page of the same stack only", () => {
    const page = (name: string, page: number) => ({ ...image(name, "open"), page, pages: 2 });
    const images = [page("a.tif", 1), page("a.tif#2", 2), page("b.tif", 1), page("b.tif#2", 2), image("c.tif", "open")];
    expect(otherPage(images, images[0]!, 1)?.name).toBe("a.tif#2");
    expect(otherPage(images, images[3]!, -1)?.name).toBe("b.tif");
    expect(otherPage(images, images[3]!, 1)).toBeNull();
    expect(otherPage(images, images[4]!, 1)).toBeNull();
  });
});

describe("image queue", () => {
  const images = [
    image("a10", "open"),
    image("a9", "open"),
    image("certain", "proposed", 0.1),
    image("done", "accepted"),
    image("uncertain", "proposed", 0.8),
    image("empty", "proposed", null),
    image("unreadable", "failed"),
  ];

  it("starts with the least certain proposals, then open images in natural order of their names", () => {
    const ids = inQueueOrder(images).map((one) => one.id);
    expect(ids).toEqual(["empty", "uncertain", "certain", "a9", "a10", "done", "unreadable"]);
  });

  it("continues after the open image, from the start if necessary, with pending images", () => {
    expect(nextPending(images, "uncertain")?.id).toBe("certain");
    expect(nextPending(images, "a10")?.id).toBe("empty");
    expect(nextPending(images, null)?.id).toBe("empty");
    expect(nextPending([image("x", "open")], "x")).toBeNull();
  });

  it("filters by state and name", () => {
    expect(filterImages(images, "todo", "a").map((one) => one.id)).toEqual(["a10", "a9", "certain", "uncertain"]);
    expect(filterImages(images, "accepted", "")).toHaveLength(1);
  });
});

describe("the common folder", () => {
  it("ends with a slash and is cut at folders only", () => {
    expect(commonFolder(["images/a.jpg", "images/b.jpg"])).toBe("images/");
    expect(commonFolder(["a/train/x.jpg", "a/trail/y.jpg"])).toBe("a/");
    expect(commonFolder(["a/x.jpg", "b/y.jpg"])).toBe("");
    expect(commonFolder(["x.jpg", "a/y.jpg"])).toBe("");
    expect(commonFolder([])).toBe("");
  });
});
