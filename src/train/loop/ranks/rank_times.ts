/**
 * Where the time of several ranks goes: which one is the slowest, and how long the others wait for it.
 *
 * @module
 */
import type { ReducedStep } from "./reduce_gradients.ts";

/** Times since the last log. */
export class RankTimes {
  #steps = 0;
  #waited = 0;
  #reduced = 0;
  #whole = 0;
  #slowest = new Map<number, number>();

  /**
   * Counts a step.
   *
   * @param seconds from the end of the step before it to the end of the sum
   */
  add({ slowestRank, waitSeconds, reduceSeconds }: ReducedStep, seconds: number): void {
    this.#steps++;
    this.#whole += seconds;
    this.#waited += waitSeconds;
    this.#reduced += reduceSeconds;
    this.#slowest.set(slowestRank, (this.#slowest.get(slowestRank) ?? 0) + 1);
  }

  /** The metrics of a log, means a step; then starts anew. */
  take(): Record<string, number> {
    if (this.#steps === 0) return {};
    const [[slowest]] = [...this.#slowest].sort(([, a], [, b]) => b - a);
    const metrics = {
      "ranks/slowest": slowest,
      "ranks/wait_seconds": this.#waited / this.#steps,
      "ranks/reduce_seconds": this.#reduced / this.#steps,
      "ranks/step_seconds": this.#whole / this.#steps,
    };
    this.#steps =
      this.#waited =
      this.#reduced =
      this.#whole =
        0;
    this.#slowest = new Map();
    return metrics;
  }
}
