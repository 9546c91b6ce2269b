/**
 * What has happened since the last log, and the mean loss of the whole run.
 *
 * @module
 */
import type { StepOutcome } from "./training_method.ts";

/** A window in a checkpoint: JSON, in which an infinite norm is null. */
export type MetricsWindowState = Record<string, number | null>;

/** Sums over the steps since the last log. */
export class MetricsWindow {
  #loss = 0;
  #steps = 0;
  #gradNorm = 0;
  /** Metrics whose value is the quotient of two sums. */
  #sums = new Map<string, { sum: number; count: number }>();
  #lossSum = 0;
  #stepsRun = 0;

  /** Steps since the last log. */
  get steps(): number {
    return this.#steps;
  }

  /** Mean loss of all steps of the run. */
  get meanLoss(): number {
    return this.#stepsRun > 0 ? this.#lossSum / this.#stepsRun : NaN;
  }

  /** Counts a step. */
  add(loss: number, gradNorm: number, { tokens, padding, metrics = {} }: StepOutcome): void {
    this.#loss += loss;
    this.#steps++;
    this.#gradNorm = gradNorm;
    this.#lossSum += loss;
    this.#stepsRun++;
    for (const [name, value] of Object.entries(metrics)) {
      if (Number.isFinite(value)) this.#count(name, value, 1);
    }
    this.#count("padding_share", padding, tokens + padding);
  }

  #count(name: string, value: number, count: number): void {
    const before = this.#sums.get(name) ?? { sum: 0, count: 0 };
    this.#sums.set(name, { sum: before.sum + value, count: before.count + count });
  }

  /** Mean loss, the last gradient norm and the means of all other metrics; then starts anew. */
  take(): { loss: number; gradNorm: number; means: Record<string, number> } {
    const means = Object.fromEntries(
      [...this.#sums].map(([name, { sum, count }]) => [name, count === 0 ? 0 : sum / count]),
    );
    const taken = { loss: this.#loss / this.#steps, gradNorm: this.#gradNorm, means };
    this.#loss = this.#steps = this.#gradNorm = 0;
    this.#sums = new Map();
    return taken;
  }

  /** For a checkpoint. */
  state(): MetricsWindowState {
    const state: MetricsWindowState = {
      loss: this.#loss,
      steps: this.#steps,
      gradNorm: this.#gradNorm,
      lossSum: this.#lossSum,
      stepsRun: this.#stepsRun,
    };
    for (const [name, { sum, count }] of this.#sums) {
      state[`sum ${name}`] = sum;
      state[`count ${name}`] = count;
    }
    return state;
  }

  /** From a checkpoint. */
  restore(state: MetricsWindowState): void {
    this.#loss = state.loss ?? NaN;
    this.#steps = state.steps ?? 0;
    this.#gradNorm = state.gradNorm ?? Infinity;
    this.#lossSum = state.lossSum ?? NaN;
    this.#stepsRun = state.stepsRun ?? 0;
    this.#sums = new Map();
    for (const [key, count] of Object.entries(state)) {
      if (!key.startsWith("count ")) continue;
      const name = key.slice("count ".length);
      this.#sums.set(name, { sum: state[`sum ${name}`] ?? NaN, count: count ?? 0 });
    }
  }
}
