/** Tokens a second and the time left, from the last minute or so of a run. */
export class ThroughputMeter {
  readonly #windowMs: number;
  readonly #now: () => number;
  #marks: { at: number; step: number; tokens: number }[] = [];
  #tokens = 0;

  /**
   * @param windowMs how far back it looks
   * @param now a clock in milliseconds; for tests
   */
  constructor(windowMs = 60_000, now: () => number = () => performance.now()) {
    this.#windowMs = windowMs;
    this.#now = now;
  }

  /** Starts counting at a step, so that the first step's time is known too. */
  start(step: number): void {
    this.#tokens = 0;
    this.#marks = [{ at: this.#now(), step, tokens: 0 }];
  }

  /**
   * Notes that a step is done.
   *
   * @param step the optimizer steps done so far
   * @param tokens tokens of the step
   */
  add(step: number, tokens: number): void {
    const at = this.#now();
    this.#tokens += tokens;
    this.#marks.push({ at, step, tokens: this.#tokens });
    // One mark that is older than the window stays: the window's beginning.
    while (this.#marks.length > 2 && this.#marks[1].at < at - this.#windowMs) this.#marks.shift();
  }

  /** Time that was not training (an evaluation, a checkpoint), in ms: it is left out. */
  exclude(durationMs: number): void {
    for (const mark of this.#marks) mark.at += durationMs;
  }

  /** Tokens a second over the window; null before the first step. */
  get tokensPerSecond(): number | null {
    const [first, last] = [this.#marks[0], this.#marks[this.#marks.length - 1]];
    if (first === undefined || last.at <= first.at) return null;
    return (last.tokens - first.tokens) / ((last.at - first.at) / 1000);
  }

  /**
   * Seconds until the last step at the window's pace; null before the first step.
   *
   * @param totalSteps the step the run ends at
   */
  secondsLeft(totalSteps: number): number | null {
    const [first, last] = [this.#marks[0], this.#marks[this.#marks.length - 1]];
    if (first === undefined || last.step <= first.step) return null;
    return (totalSteps - last.step) * (last.at - first.at) / 1000 / (last.step - first.step);
  }
}
