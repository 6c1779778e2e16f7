/** Undo and redo over immutable values. */
export class History<T> {
  private past: T[] = [];
  private future: T[] = [];

  constructor(
    private current: T,
    private readonly limit = 200,
  ) {}

  get value(): T {
    return this.current;
  }
  get canUndo(): boolean {
    return this.past.length > 0;
  }
  /** Number of steps that can be undone. */
  get depth(): number {
    return this.past.length;
  }
  get canRedo(): boolean {
    return this.future.length > 0;
  }

  push(next: T): void {
    this.past.push(this.current);
    if (this.past.length > this.limit) this.past.shift();
    this.future = [];
    this.current = next;
  }

  undo(): boolean {
    if (!this.past.length) return false;
    this.future.push(this.current);
    this.current = this.past.pop()!;
    return true;
  }

  redo(): boolean {
    if (!this.future.length) return false;
    this.past.push(this.current);
    this.current = this.future.pop()!;
    return true;
  }
}
