import { describe, expect, it } from "vitest";

import { defaultAdapter, labelingAdapter } from "../src/jobs";
import type { Adapter } from "../src/types";

const adapter = (name: string, clickMiou: number | null, baseMiou: number | null, flags: Partial<Adapter> = {}): Adapter => ({
  name,
  classes: ["banner"],
  method: "plm-pmm",
  automatic: false,
  promptless: false,
  deletable: true,
  metrics: { clickMiou, baseMiou, automaticMiou: null, interval: null },
  heldOutImages: null,
  heldOutObjects: null,
  comparison: [],
  crossValidated: null, replaces: null,
  ...flags,
});

describe("the default adapter", () => {
  it("is the newest that takes clicks and is not worse than the base model", () => {
    expect(defaultAdapter({ adapters: [adapter("a", 0.7, 0.5), adapter("b", 0.8, 0.5)] })).toBe("b");
    const promptless = adapter("c", 0.9, 0.5, { promptless: true });
    expect(defaultAdapter({ adapters: [adapter("a", 0.7, 0.5), adapter("b", 0.4, 0.5), promptless] })).toBe("a");
    expect(defaultAdapter({ adapters: [adapter("a", null, null)] })).toBe("a");
    expect(defaultAdapter({ adapters: [adapter("a", 0.7, 0.5), adapter("b", 0.8, 0.5, { replaces: false })] })).toBe("a");
  });

  it("is the base model if there is none", () => {
    expect(defaultAdapter({ adapters: [] })).toBeNull();
    expect(defaultAdapter({ adapters: [adapter("a", 0.4, 0.5)] })).toBeNull();
  });
});

describe("the adapter that labels", () => {
  const adapters = [adapter("a", 0.7, 0.5, { automatic: true }), adapter("b", 0.7, 0.5, { automatic: true }), adapter("c", 0.7, 0.5)];

  it("is the active one if it finds objects by itself, else the newest that does", () => {
    expect(labelingAdapter(adapters, "a")).toBe("a");
    expect(labelingAdapter(adapters, "c")).toBe("b");
    expect(labelingAdapter(adapters, null)).toBe("b");
    expect(labelingAdapter([adapter("c", 0.7, 0.5)], "c")).toBeNull();
  });
});
