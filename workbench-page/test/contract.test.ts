import { describe, expect, it } from "vitest";

import { type WireAdapter, type WireJob, segmentBody, toAdapter, toCandidates, toJob } from "../src/contract";

// as the server sends it
const wireJob: WireJob = {
  id: "1",
  kind: "fit",
  state: "running",
  done: 3,
  total: 40,
  stage: "select",
  loss: 0.5,
  miou: 0.8,
  start_miou: 0.6,
  seconds_left: 12,
  images_per_second: null,
  message: null,
  adapter: "fit-1",
};

describe("contract", () => {
  it("reads a job; what is missing is null", () => {
    const { stage, clickMiou, baseMiou, automaticMiou, secondsLeft } = toJob(wireJob);
    expect([stage, clickMiou, baseMiou, automaticMiou, secondsLeft]).toEqual(["select", 0.8, 0.6, null, 12]);
    expect(toJob({ ...wireJob, automatic_miou: 0.7 }).automaticMiou).toBe(0.7);
    expect(toJob({ ...wireJob, held_out_images: 2 }).heldOutImages).toBe(2);
    const found = { images: 1, objects: 2, nothing: 3, here: null };
    expect(toJob({ ...wireJob, kind: "find", report: found })).toMatchObject({ found, report: null });
  });

  it("reads an adapter, which can be deleted unless the server forbids it", () => {
    const wire: WireAdapter = { name: "a", classes: [], method: "plm", auto: true, promptless: false, figures: null };
    expect(toAdapter(wire)).toMatchObject({ automatic: true, deletable: true, metrics: null });
    expect(toAdapter({ ...wire, deletable: false }).deletable).toBe(false);
  });

  it("sends prompts and reads candidates", () => {
    const rle = { size: [1, 1] as [number, number], counts: "01" };
    const prompts = { points: [[1, 2]] as [number, number][], labels: [1], box: null };
    const whole = { class: null, zoomFirst: true, view: null, refined: null };
    const body = { adapter: null, class: null, ...prompts, zoom: true, view: null, refine: null, answer: null };
    expect(segmentBody(null, prompts, whole)).toEqual(body);
    const refining = { class: "plate", zoomFirst: false, view: [1, 2, 3, 4] as [number, number, number, number], refined: { rle, answer: "m1" } };
    expect(segmentBody(null, prompts, refining)).toMatchObject({ class: "plate", view: [1, 2, 3, 4], refine: rle, answer: "m1" });
    const masks = [
      { rle, predicted_iou: 0.9, area: 1 },
      { rle, predicted_iou: 0.8, area: 2, cropped: true, answer: "m2" },
    ];
    expect(toCandidates({ masks })).toEqual([
      { rle, predictedIou: 0.9, zoomed: false, cropped: false, area: 1, answer: null },
      { rle, predictedIou: 0.8, zoomed: false, cropped: true, area: 2, answer: "m2" },
    ]);
  });
});
