/** Keeps only the newest of several requests: starting one aborts the previous one and discards its result. */
export class LatestRequest {
  private controller: AbortController | null = null;

  /** The response, or null if a newer request or `cancel` came in between. Errors of outdated requests are discarded. */
  async run<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    this.controller?.abort();
    const controller = new AbortController();
    this.controller = controller;
    try {
      const response = await request(controller.signal);
      return this.controller === controller ? response : null;
    } catch (error) {
      if (this.controller !== controller) return null;
      throw error;
    } finally {
      if (this.controller === controller) this.controller = null;
    }
  }

  cancel(): void {
    this.controller?.abort();
    this.controller = null;
  }
}
