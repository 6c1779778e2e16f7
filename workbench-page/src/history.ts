/** Undo and redo over values that are never changed in place. */
export class History<T> {
  private past: T[] = [];
  private future: T[] = [];

  constructor(
    private now: T,
    private readonly most = 200,
  ) {}

  get value(): T {
    return this.now;
  }
  get canUndo(): boolean {
    return this.past.length > 0;
  }
  get canRedo(): boolean {
    return this.future.length > 0;
  }

  push(next: T): void {
    this.past.push(this.now);
    if (this.past.length > this.most) this.past.shift();
    this.future = [];
    this.now = next;
  }

  undo(): boolean {
    if (!this.past.length) return false;
    this.future.push(this.now);
    this.now = this.past.pop()!;
    return true;
  }

  redo(): boolean {
    if (!this.future.length) return false;
    this.past.push(this.now);
    this.now = this.future.pop()!;
    return true;
  }
}
