/**
 * Saves the annotations of one image after each change: waits briefly, sends, then sends what changed meanwhile.
 *
 * Each PUT names the revision that it builds on. Status 409 means that someone else saved in between: saving stops
 * until `resolveConflict` is called, so nothing is overwritten. An unreachable server is retried with growing delays.
 */

import { ServerError, Unreachable } from "./api";

export interface Content {
  state: "open" | "accepted";
  objects: unknown[];
}

export type SaveState = "saved" | "waiting" | "saving" | "offline" | "conflict" | "rejected";

export interface AutosaveHooks<C extends Content> {
  put: (body: C & { revision: number }, keepalive: boolean) => Promise<{ revision: number }>;
  content: () => C;
  onState: (state: SaveState, message: string | null) => void;
}

const RETRY_DELAYS = [1000, 2000, 4000, 8000, 15000];

export class Autosave<C extends Content> {
  state: SaveState = "saved";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private dirty = false;
  private inFlight: Promise<void> | null = null;
  private failures = 0;
  private version = 0;
  private versionSentOnExit = -1;

  constructor(
    public revision: number,
    private readonly hooks: AutosaveHooks<C>,
    private readonly delay = 350,
  ) {}

  /** Whether something may not be on disk yet. */
  get unsaved(): boolean {
    return this.dirty || this.inFlight !== null;
  }

  markChanged(): void {
    this.version += 1;
    this.dirty = true;
    if (this.state === "conflict") return; // the user decides first
    if (!this.inFlight) this.setState("waiting");
    this.schedule(this.delay);
  }

  /** Saves without delay; resolves once everything is on disk or saving has failed. */
  async flush(): Promise<void> {
    clearTimeout(this.timer);
    while (this.inFlight) await this.inFlight;
    if (this.dirty && this.state !== "conflict") await this.send();
    if (this.inFlight) await this.inFlight;
  }

  /** Continues from the server's `revision`; `keepLocal` saves the local content over it. */
  resolveConflict(revision: number, keepLocal: boolean): void {
    this.revision = revision;
    this.dirty = keepLocal;
    this.state = "saved";
    if (keepLocal) this.markChanged();
    else this.setState("saved");
  }

  /** Sends one last request that outlives the page. */
  saveOnExit(): void {
    if (!this.dirty || this.state === "conflict" || this.versionSentOnExit === this.version) return;
    this.versionSentOnExit = this.version; // browsers fire more than one event when a page closes
    const revision = this.inFlight ? this.revision + 1 : this.revision;
    void this.hooks.put({ ...this.hooks.content(), revision }, true).then(
      (response) => {
        this.revision = response.revision;
      },
      () => undefined, // the local backup still has it
    );
  }

  private schedule(delay: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.send(), delay);
  }

  private send(): Promise<void> {
    if (this.inFlight) return this.inFlight;
    this.dirty = false;
    this.setState("saving");
    this.inFlight = this.attempt().finally(() => {
      this.inFlight = null;
      if (this.dirty && this.state === "saved") this.markChanged();
    });
    return this.inFlight;
  }

  private async attempt(): Promise<void> {
    try {
      const response = await this.hooks.put({ ...this.hooks.content(), revision: this.revision }, false);
      this.revision = response.revision;
      this.failures = 0;
      this.setState("saved");
    } catch (error) {
      this.dirty = true;
      this.handleFailure(error);
    }
  }

  private handleFailure(error: unknown): void {
    if (error instanceof ServerError && error.status === 409) return this.setState("conflict", error.message);
    const temporary = error instanceof Unreachable || (error instanceof ServerError && error.status >= 500);
    const message = error instanceof Error ? error.message : String(error);
    const delay = RETRY_DELAYS[Math.min(this.failures, RETRY_DELAYS.length - 1)]!;
    this.failures += 1;
    const retryAfter = error instanceof ServerError && error.retryAfter ? error.retryAfter * 1000 : 0;
    if (temporary) this.schedule(Math.max(delay, retryAfter));
    this.setState(temporary ? "offline" : "rejected", message);
  }

  private setState(state: SaveState, message: string | null = null): void {
    this.state = state;
    this.hooks.onState(state, message);
  }
}
