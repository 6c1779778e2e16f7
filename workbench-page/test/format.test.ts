import { expect, it } from "vitest";

import { counted, formatDuration, formatPercent, stateLabel } from "../src/components/format";

it("formats numbers", () => {
  expect([formatPercent(0.4404), formatPercent(null)]).toEqual(["44.0%", "–"]);
  expect([counted(1, "image"), counted(0, "image")]).toEqual(["1 image", "0 images"]);
  expect([9, 61, 3600 + 120].map(formatDuration)).toEqual(["9 s", "1 min 01 s", "1 h 02 min"]);
});

it("names the states of an image", () => {
  expect([stateLabel("open", 0), stateLabel("open", 2), stateLabel("accepted", 2)]).toEqual(["Open", "Draft", "Accepted"]);
});
