/**
 * Notices that a run goes wrong: what SFT and DPO need, as `reward_watch.ts` does it for GRPO.
 *
 * @module
 */
import type { EvaluationSample } from "../evaluation_sample.ts";
import type { MetricsRecord } from "../files/metrics_record.ts";
import type { Concern, RunHistory } from "./concern.ts";
import {
  answersAlike,
  explodingLoss,
  nothingLearnt,
  risingHeldOutLoss,
  risingLoss,
  zeroGradient,
  zeroLearningRate,
} from "./run_rules.ts";

const RULES: readonly ((history: RunHistory) => Concern | null)[] = [
  explodingLoss,
  risingLoss,
  nothingLearnt,
  zeroGradient,
  zeroLearningRate,
  risingHeldOutLoss,
  answersAlike,
];

/** Watches one run. A concern is reported once, and is active as long as its rule says so. */
export class RunWatch {
  readonly #logs: MetricsRecord[] = [];
  readonly #evaluations: MetricsRecord[] = [];
  readonly #reported = new Set<string>();
  #samples: readonly EvaluationSample[] = [];
  #active: readonly Concern[] = [];

  /** @param totalSteps the step at which the run ends */
  constructor(readonly totalSteps: number) {}

  /**
   * Takes in a record of a logging step or of an evaluation.
   *
   * @param samples of an evaluation
   * @returns concerns that were not reported before
   */
  observe(record: MetricsRecord, samples: readonly EvaluationSample[] = []): Concern[] {
    if ("eval_runtime" in record) {
      this.#evaluations.push(record);
      this.#samples = samples;
    } else this.#logs.push(record);
    const history: RunHistory = {
      totalSteps: this.totalSteps,
      logs: this.#logs,
      evaluations: this.#evaluations,
      samples: this.#samples,
    };
    this.#active = RULES.map((rule) => rule(history)).filter((concern) => concern !== null);
    const fresh = this.#active.filter(({ name }) => !this.#reported.has(name));
    for (const { name } of fresh) this.#reported.add(name);
    return fresh;
  }

  /** What is wrong now. */
  get active(): readonly Concern[] {
    return this.#active;
  }
}
