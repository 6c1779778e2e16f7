import { describe, expect, it } from "vitest";

import { LatestRequest } from "../src/latest-request";

describe("LatestRequest", () => {
  it("discards the response and the error of an older request", async () => {
    const latest = new LatestRequest();
    let respond = (_: string) => {};
    let fail = (_: Error) => {};
    const slow = latest.run(() => new Promise<string>((resolve) => (respond = resolve)));
    const failing = latest.run(() => new Promise<string>((_, reject) => (fail = reject)));
    const fast = latest.run(() => Promise.resolve("new"));
    respond("old");
    fail(new Error("old"));
    expect(await Promise.all([slow, failing, fast])).toEqual([null, null, "new"]);
  });

  it("aborts on cancel", () => {
    const latest = new LatestRequest();
    let signal: AbortSignal | undefined;
    void latest.run((given) => ((signal = given), new Promise(() => {})));
    latest.cancel();
    expect(signal?.aborted).toBe(true);
  });
});
