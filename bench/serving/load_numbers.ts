/**
 * Counts and times of a load test.
 *
 * @module
 */

/** The value below which a share of the numbers lies (the nearest rank); NaN if there is none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

/** What the clients saw. */
export class LoadNumbers {
  /** How often each thing happened, by its name. */
  readonly counts = new Map<string, number>();
  /** Milliseconds from a request to the first text of a streamed answer. */
  readonly firstTextMs: number[] = [];
  /** Milliseconds of a short answer that was read as fast as it came. */
  readonly answerMs: number[] = [];
  /** What must not happen. */
  readonly failures: string[] = [];

  /** Something that is to be expected. */
  count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  /** Something that must not happen. */
  fail(text: string): void {
    this.count("FAILED");
    if (this.failures.length < 20) this.failures.push(text);
  }

  /** Lines for the log. */
  lines(seconds: number): string[] {
    const answers = this.counts.get("answers compared with generate's") ?? 0;
    const ms = (values: readonly number[]) =>
      [0.5, 0.95, 0.99].map((share) => `p${100 * share} ${percentile(values, share).toFixed(0)} ms`)
        .join(", ");
    return [
      `first text of a stream: ${ms(this.firstTextMs)} (${this.firstTextMs.length} streams)`,
      `whole short answer:     ${ms(this.answerMs)} (${this.answerMs.length} answers)`,
      `${(answers / seconds).toFixed(1)} answers/s compared`,
      ...[...this.counts].sort(([a], [b]) => a < b ? -1 : 1).map(([name, count]) =>
        `${String(count).padStart(8)}  ${name}`
      ),
      ...this.failures.map((text) => `failed: ${text}`),
    ];
  }
}
