/**
 * Virtual time: a heap of events by their time, and among equals by the order in which they were asked for. Nothing else
 * makes anything happen in the simulation, so a schedule repeats itself to the last step.
 */
export class Scheduler {
  #nowMs = 0;
  #sequence = 0;
  readonly #timesMs: number[] = [];
  readonly #sequences: number[] = [];
  readonly #runs: (() => void)[] = [];

  /** True time, which no party of the simulation can see. */
  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): void {
    const timeMs = this.#nowMs + (delayMs > 0 ? delayMs : 0);
    let place = this.#runs.length;
    const sequence = ++this.#sequence;
    this.#put(place, timeMs, sequence, run);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#before(timeMs, sequence, parent)) break;
      this.#move(parent, place);
      place = parent;
    }
    this.#put(place, timeMs, sequence, run);
  }

  /** Runs every event up to that time, those included that they bring about. */
  runUntil(endMs: number): void {
    while (this.#runs.length > 0 && this.#timesMs[0]! <= endMs) {
      this.#nowMs = this.#timesMs[0]!;
      this.#takeFirst()();
    }
    this.#nowMs = endMs;
  }

  #takeFirst(): () => void {
    const first = this.#runs[0]!;
    const timeMs = this.#timesMs.pop()!;
    const sequence = this.#sequences.pop()!;
    const run = this.#runs.pop()!;
    const count = this.#runs.length;
    if (count === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= count) break;
      const other = child + 1;
      if (other < count && this.#before(this.#timesMs[other]!, this.#sequences[other]!, child)) child = other;
      if (this.#before(timeMs, sequence, child)) break;
      this.#move(child, place);
      place = child;
    }
    this.#put(place, timeMs, sequence, run);
    return first;
  }

  #before(timeMs: number, sequence: number, place: number): boolean {
    const otherMs = this.#timesMs[place]!;
    return timeMs < otherMs || (timeMs === otherMs && sequence < this.#sequences[place]!);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#timesMs[from]!, this.#sequences[from]!, this.#runs[from]!);
  }

  #put(place: number, timeMs: number, sequence: number, run: () => void): void {
    this.#timesMs[place] = timeMs;
    this.#sequences[place] = sequence;
    this.#runs[place] = run;
  }
}
