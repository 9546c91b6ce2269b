/**
 * What the evaluations of a run say so far: which one was the best, and whether the run should stop.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";

/** The keys of `training` that early stopping reads. */
export type EarlyStoppingSettings = Pick<
  TrainingSection,
  | "early_stopping_patience"
  | "early_stopping_threshold"
  | "greater_is_better"
  | "metric_for_best_model"
>;

/** What an evaluation means. */
export interface EvaluationVerdict {
  /** It is strictly better than every evaluation before it. */
  readonly isBest: boolean;
  /** The run should stop: enough evaluations in a row did not improve. */
  readonly stops: boolean;
}

/** The name of a metric in a record: `loss` and `eval_loss` are both `eval_loss`. */
export function evaluationKey(metric: string): string {
  return metric.startsWith("eval_") ? metric : `eval_${metric}`;
}

/**
 * Counts the evaluations without improvement, by the rule of Transformers' `EarlyStoppingCallback`
 * (release 5.24): an evaluation improves if it is better than the best so far by more than the
 * threshold. The best so far moves with every better evaluation, also by less than the threshold.
 * The first evaluation always improves, unless its metric is not a finite number.
 *
 * It needs no state of its own in a checkpoint: the evaluations are in `log_history`.
 */
export class EarlyStopping {
  readonly #settings: EarlyStoppingSettings;
  #best: { readonly metric: number; readonly step: number } | null = null;
  #withoutImprovement = 0;

  /** @param settings metric, direction, patience and threshold; no patience: it never stops */
  constructor(settings: EarlyStoppingSettings) {
    this.#settings = settings;
  }

  /** Evaluations in a row, up to the last one, that did not improve. */
  get withoutImprovement(): number {
    return this.#withoutImprovement;
  }

  /** Whether the run should stop. */
  get stops(): boolean {
    const { early_stopping_patience: patience } = this.#settings;
    return patience !== null && this.#withoutImprovement >= patience;
  }

  /**
   * Counts an evaluation.
   *
   * @param step after which it was made
   */
  observe(metric: number, step: number): EvaluationVerdict {
    const { greater_is_better, early_stopping_threshold: threshold } = this.#settings;
    const best = this.#best?.metric ?? null;
    const isBest = Number.isFinite(metric) &&
      (best === null || (greater_is_better ? metric > best : metric < best));
    const improves = isBest && (best === null || Math.abs(metric - best) > threshold);
    this.#withoutImprovement = improves ? 0 : this.#withoutImprovement + 1;
    if (isBest) this.#best = { metric, step };
    return { isBest, stops: this.stops };
  }

  /**
   * Counts the evaluations of a checkpoint. An evaluation before the first step does not count.
   *
   * @param history the records of its log; null in place of a metric stands for what is not finite
   */
  restore(history: readonly MetricsRecord[]): void {
    this.#best = null;
    this.#withoutImprovement = 0;
    const key = evaluationKey(this.#settings.metric_for_best_model);
    for (const record of history) {
      if (!(key in record) || record.step === 0) continue;
      const value = record[key];
      this.observe(typeof value === "number" ? value : NaN, record.step);
    }
  }

  /** Why the run stopped, for the user. */
  get reason(): string {
    const { metric_for_best_model, early_stopping_threshold: threshold } = this.#settings;
    const count = this.#withoutImprovement;
    const best = this.#best;
    return `early stopping: ${evaluationKey(metric_for_best_model)} has not improved` +
      `${threshold > 0 ? ` by more than ${threshold}` : ""} in the last ` +
      `${count === 1 ? "evaluation" : `${count} evaluations`}; ` +
      (best === null
        ? "none had a finite value"
        : `the best was ${Number(best.metric.toPrecision(6))} at step ${best.step}`);
  }

  /** For `stateful_callbacks` of trainer_state.json; nothing without a patience. */
  callbackState(): Readonly<Record<string, EarlyStoppingCallbackState>> {
    const { early_stopping_patience, early_stopping_threshold } = this.#settings;
    if (early_stopping_patience === null) return {};
    return {
      EarlyStoppingCallback: {
        args: { early_stopping_patience, early_stopping_threshold },
        attributes: { early_stopping_patience_counter: this.#withoutImprovement },
      },
    };
  }
}

/** What Transformers' `EarlyStoppingCallback.state()` gives. */
export interface EarlyStoppingCallbackState {
  readonly args: {
    readonly early_stopping_patience: number;
    readonly early_stopping_threshold: number;
  };
  readonly attributes: { readonly early_stopping_patience_counter: number };
}
