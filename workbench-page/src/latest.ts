/** Of several questions only the newest answer counts: asking again aborts the older one and drops its answer. */
export class Latest {
  private running: AbortController | null = null;

  /** The answer, or null if a newer question (or `drop`) came in between. Errors of stale questions are dropped too. */
  async run<T>(question: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    this.running?.abort();
    const mine = new AbortController();
    this.running = mine;
    try {
      const answer = await question(mine.signal);
      return this.running === mine ? answer : null;
    } catch (error) {
      if (this.running !== mine) return null;
      throw error;
    } finally {
      if (this.running === mine) this.running = null;
    }
  }

  /** Whatever is under way no longer matters. */
  drop(): void {
    this.running?.abort();
    this.running = null;
  }

  get busy(): boolean {
    return this.running !== null;
  }
}
