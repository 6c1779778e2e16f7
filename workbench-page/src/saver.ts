/**
 * Saves one picture's annotations as they change: waits a moment, sends, sends again what changed meanwhile.
 *
 * Each PUT carries the revision it builds on. 409 means that somebody else saved in between: nothing is overwritten,
 * the owner of the saver is asked. No answer means that the server is away: tried again, slower and slower.
 */

import { Offline, Refusal } from "./api";

export interface Content {
  state: "open" | "accepted";
  objects: unknown[];
}

export type SaveState = "saved" | "waiting" | "saving" | "offline" | "conflict" | "refused";

export interface SaverHooks<C extends Content> {
  put: (body: C & { revision: number }, keepalive: boolean) => Promise<{ revision: number }>;
  content: () => C;
  told: (state: SaveState, message: string | null) => void;
}

const WAITS = [1000, 2000, 4000, 8000, 15000];

export class Saver<C extends Content> {
  state: SaveState = "saved";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private dirty = false;
  private flying: Promise<void> | null = null;
  private failures = 0;
  private version = 0;
  private sentLast = -1;

  constructor(
    public revision: number,
    private readonly hooks: SaverHooks<C>,
    private readonly delay = 350,
  ) {}

  /** Whether anything is not yet known to be on disk. */
  get unsaved(): boolean {
    return this.dirty || this.flying !== null;
  }

  /** Something changed. */
  changed(): void {
    this.version += 1;
    this.dirty = true;
    if (this.state === "conflict") return; // the user decides first
    if (!this.flying) this.tell("waiting");
    this.later(this.delay);
  }

  /** Now rather than after the wait; resolves when everything is on disk or cannot be. */
  async flush(): Promise<void> {
    clearTimeout(this.timer);
    while (this.flying) await this.flying;
    if (this.dirty && this.state !== "conflict") await this.send();
    if (this.flying) await this.flying;
  }

  /** The answer to a conflict: go on from `revision`, saving what is here (`keep`) or having taken theirs. */
  settle(revision: number, keep: boolean): void {
    this.revision = revision;
    this.dirty = keep;
    this.state = "saved";
    if (keep) this.changed();
    else this.tell("saved");
  }

  /** The page goes away: one last request that outlives it. */
  farewell(): void {
    if (!this.dirty || this.state === "conflict" || this.sentLast === this.version) return;
    this.sentLast = this.version; // the page may be told twice that it goes
    const revision = this.flying ? this.revision + 1 : this.revision;
    void this.hooks.put({ ...this.hooks.content(), revision }, true).then(
      (answer) => {
        this.revision = answer.revision;
      },
      () => undefined, // the journal still has it
    );
  }

  private later(wait: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.send(), wait);
  }

  private send(): Promise<void> {
    if (this.flying) return this.flying;
    this.dirty = false;
    this.tell("saving");
    this.flying = this.attempt().finally(() => {
      this.flying = null;
      if (this.dirty && this.state === "saved") this.changed();
    });
    return this.flying;
  }

  private async attempt(): Promise<void> {
    try {
      const answer = await this.hooks.put({ ...this.hooks.content(), revision: this.revision }, false);
      this.revision = answer.revision;
      this.failures = 0;
      this.tell("saved");
    } catch (error) {
      this.dirty = true;
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    if (error instanceof Refusal && error.status === 409) return this.tell("conflict", error.message);
    const again = error instanceof Offline || (error instanceof Refusal && error.status >= 500);
    const message = error instanceof Error ? error.message : String(error);
    const wait = WAITS[Math.min(this.failures, WAITS.length - 1)]!;
    this.failures += 1;
    const asked = error instanceof Refusal && error.retryAfter ? error.retryAfter * 1000 : 0;
    if (again) this.later(Math.max(wait, asked));
    this.tell(again ? "offline" : "refused", message);
  }

  private tell(state: SaveState, message: string | null = null): void {
    this.state = state;
    this.hooks.told(state, message);
  }
}
