/**
 * The evaluations of a run: measured on rank 0, reported, judged, and told to all ranks.
 *
 * @module
 */
import { assertNoGpuErrors } from "../../device/gpu_errors.ts";
import { onRankZero, type Ranks } from "../../distributed/ranks.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";
import { metricOf } from "../checkpoint/best_checkpoint.ts";
import {
  EarlyStopping,
  type EarlyStoppingCallbackState,
  evaluationKey,
  type EvaluationVerdict,
} from "./early_stopping.ts";
import type { StepUpdate } from "../loop/step_update.ts";
import type { TrainerOptions } from "../loop/trainer_options.ts";
import type { EvaluationOutcome, TrainingMethod } from "../loop/training_method.ts";

/** What evaluations are made with. */
export interface EvaluationParts {
  readonly method: TrainingMethod;
  readonly options: TrainerOptions;
  readonly ranks: Ranks;
  /** Its schedule may follow the metric. */
  readonly update: StepUpdate;
}

/** An evaluation that was made. */
export interface DoneEvaluation extends EvaluationVerdict {
  /** For the log. */
  readonly record: MetricsRecord;
}

/** Evaluates, and knows which evaluation was the best. */
export class Evaluations {
  readonly #parts: EvaluationParts;
  readonly #stopping: EarlyStopping;
  #last: Readonly<Record<string, number>> | null = null;

  constructor(parts: EvaluationParts) {
    this.#parts = parts;
    this.#stopping = new EarlyStopping(parts.options.training);
  }

  /** Metrics of the last evaluation; null before one. */
  get last(): Readonly<Record<string, number>> | null {
    return this.#last;
  }

  /** Whether the evaluations of the checkpoint that the run goes on from had ended it. */
  get hadStopped(): boolean {
    return this.#stopping.stops;
  }

  /** Why the run stopped, for the user. */
  get reason(): string {
    return this.#stopping.reason;
  }

  /** From the log of a checkpoint. */
  restore(history: readonly MetricsRecord[]): void {
    this.#stopping.restore(history);
  }

  /** For `stateful_callbacks` of trainer_state.json. */
  callbackState(): Readonly<Record<string, EarlyStoppingCallbackState>> {
    return this.#stopping.callbackState();
  }

  /**
   * Evaluates and reports. Rank 0 measures and decides; the others get its metrics and its decision.
   *
   * An evaluation before the first step is reported, and counts for nothing else, as in
   * Transformers: no schedule follows it, and it is no candidate for the best.
   *
   * @returns null without held-out data
   * @throws {Error} if the metric that a key names is not measured
   */
  async run(at: { readonly step: number; readonly epoch: number }): Promise<DoneEvaluation | null> {
    const { method, update, ranks } = this.#parts;
    const { reporter, callbacks, signal, training } = this.#parts.options;
    let answered: Pick<EvaluationOutcome, "samples" | "all"> = { samples: [] };
    const found = await reporter.apart(() =>
      onRankZero(ranks, "the evaluation", async () => {
        const outcome = await update.optimizer.withAverages(() => method.evaluate(signal));
        if (outcome === null) return null;
        answered = outcome; // with pictures: they stay on the rank that reports
        const { metrics } = outcome;
        return { metrics, ...this.#judge(metrics, at.step) };
      })
    );
    assertNoGpuErrors();
    if (found === null) return null;
    const { metrics, isBest, stops } = found;
    this.#last = metrics;
    const record = { ...at, ...metrics };
    await reporter.onEvaluate(record, answered.samples, answered.all);
    if (at.step > 0 && update.followsMetric) {
      // JSON, which the other ranks get, has null in place of what is not finite.
      const metric = metricOf(metrics, training.metric_for_best_model);
      update.observe(Number.isFinite(metric) ? metric : NaN);
    }
    for (const callback of callbacks ?? []) await callback.onEvaluate?.(record);
    return { record, isBest, stops };
  }

  /** Called on rank 0. */
  #judge(metrics: Readonly<Record<string, number>>, step: number): EvaluationVerdict {
    const { training } = this.#parts.options;
    const { metric_for_best_model: name, save_strategy, early_stopping_patience } = training;
    const isNeeded = training.load_best_model_at_end || save_strategy === "best" ||
      early_stopping_patience !== null;
    if (isNeeded) metricOf(metrics, name);
    const metric = metrics[evaluationKey(name)];
    if (metric === undefined || step === 0) return { isBest: false, stops: false };
    return this.#stopping.observe(metric, step);
  }
}
