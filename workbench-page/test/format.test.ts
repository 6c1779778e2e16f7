import { describe, expect, it } from "vitest";

import { adapterDetails, counted, formatDuration, formatPercent, stageLabel, stateLabel } from "../src/components/format";
import { type WireAdapter, toAdapter } from "../src/contract";

// as the server sends it
const adapter: WireAdapter = { name: "a", classes: ["plate"], method: "tailor", auto: true, promptless: false, figures: null };

it("formats numbers", () => {
  expect([formatPercent(0.4404), formatPercent(null)]).toEqual(["44.0%", "–"]);
  expect([counted(1, "image"), counted(0, "image")]).toEqual(["1 image", "0 images"]);
  expect([9, 61, 3600 + 120].map(formatDuration)).toEqual(["9 s", "1 min 01 s", "1 h 02 min"]);
});

it("names the states of an image", () => {
  expect([stateLabel("open", 0), stateLabel("open", 2), stateLabel("accepted", 2)]).toEqual(["Open", "Draft", "Accepted"]);
});

it("shows the objects and the interval behind the score of an adapter", () => {
  const figures = { start_miou: 0.5, held_out_miou: 0.61, held_out_region_miou: null };
  const judged = toAdapter({ ...adapter, figures, interval: [0.5, 0.7], held_out_images: 2, held_out_masks: 8 });
  expect(adapterDetails(judged)).toEqual(["61.0% (50.0–70.0), n 8", "Held-out mIoU; base 50.0%"]);
});

it("says that too few objects were held out instead of a score", () => {
  const first = (held_out_masks?: number) => adapterDetails(toAdapter({ ...adapter, held_out_masks }))[0];
  expect([first(3), first(0), first()]).toEqual(["Too few to say (n 3)", "No held-out objects", "tailor"]);
});

describe("stage of a job", () => {
  it("has words for stages of any method", () => {
    expect(stageLabel("encode")).toBe("Encoding images");
    expect(stageLabel("cross-validation")).toBe("Cross-validation");
    expect(stageLabel("second_candidate")).toBe("Second candidate");
  });
});
