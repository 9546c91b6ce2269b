/**
 * A wish to stop that all ranks follow at the same step.
 *
 * @module
 */
import { type Ranks, sumNumbers } from "./ranks.ts";

/** Turns the signal of any rank into one that is aborted on all of them at the same place. */
export class AgreedStop {
  /** Aborted once the ranks have agreed; of a single process, its own signal. */
  readonly signal: AbortSignal | undefined;
  readonly #controller = new AbortController();

  /** @param own aborted if this rank is asked to stop */
  constructor(readonly ranks: Ranks, readonly own: AbortSignal | undefined) {
    this.signal = ranks.size === 1 ? own : this.#controller.signal;
  }

  /** Asks all ranks whether one of them was told to stop; every rank calls it at the same place. */
  async agree(): Promise<void> {
    if (this.ranks.size === 1 || this.signal?.aborted) return;
    const [wishes] = await sumNumbers(this.ranks, [this.own?.aborted ? 1 : 0], "the next step");
    if (wishes === 0) return;
    this.#controller.abort(this.own?.reason ?? new DOMException("interrupted", "AbortError"));
  }
}
