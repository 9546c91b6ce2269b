/**
 * The keys of `training` about when a run evaluates first, when it stops early, and what its
 * checkpoints hold.
 *
 * @module
 */
import type { ResolvedConfig, TrainingSection } from "../../types/config_types.ts";
import { HF_ARGUMENTS } from "../../sources.ts";
import { nullable } from "../../types/composite_types.ts";
import { boolean, integer, number } from "../../types/scalar_types.ts";
import { same, type Table } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";

type StoppingKeys =
  | "eval_on_start"
  | "early_stopping_patience"
  | "early_stopping_threshold"
  | "save_only_model";

const HF_CALLBACK = "Transformers `EarlyStoppingCallback`";

/** Evaluation before the first step, early stopping, checkpoints without the optimizer. */
export const stoppingKeys: Table<Pick<TrainingSection, StoppingKeys>> = {
  eval_on_start: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Evaluate before the first step too, logged as step 0. It counts neither for " +
      "`load_best_model_at_end` nor for early stopping or a schedule. A resumed run does not repeat it.",
  },
  early_stopping_patience: {
    type: nullable(integer({ min: 1 })),
    default: same<number | null>(null),
    source: `${HF_CALLBACK} (1, if the callback is added)`,
    meaning: "The run stops after this many evaluations in a row that did not improve " +
      "`metric_for_best_model`. Its last checkpoint is saved, and a run that is resumed from it " +
      "stays stopped unless the patience is raised. 2 to 5 is usual, with " +
      "`load_best_model_at_end: true`; more if the metric is noisy. `null`: never.",
  },
  early_stopping_threshold: {
    type: number({ min: 0 }),
    default: same(0),
    source: HF_CALLBACK,
    meaning: "An evaluation improves if it is better than the best so far by more than this.",
  },
  save_only_model: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Checkpoints without the moments of the optimizer, a third of the size: they can be " +
      "evaluated, used and started from, and `--resume` refuses them. The checkpoint of an " +
      "interrupted run (Ctrl-C) is whole all the same, so that the run can go on.",
  },
};

/** Mistakes of these keys that need more than one key. */
export function stoppingProblems({ training }: ResolvedConfig): Finding[] {
  const problems: Finding[] = [];
  const {
    eval_strategy,
    eval_on_start,
    early_stopping_patience: patience,
    early_stopping_threshold: threshold,
    save_strategy,
  } = training;
  const wanted = "; set eval_strategy to steps or epoch";
  if (patience !== null && eval_strategy === "no") {
    const text = `watches the evaluations, and eval_strategy is no${wanted}`;
    problems.push({ key: "training.early_stopping_patience", text });
  }
  if (patience === null && threshold > 0) {
    const text = "is read with early_stopping_patience alone; set that too, or leave this out";
    problems.push({ key: "training.early_stopping_threshold", text });
  }
  if (eval_on_start && eval_strategy === "no") {
    const text = `needs held-out data, and eval_strategy is no${wanted}`;
    problems.push({ key: "training.eval_on_start", text });
  }
  if (save_strategy === "best" && eval_strategy === "no") {
    const text = `best compares evaluations, and eval_strategy is no${wanted}`;
    problems.push({ key: "training.save_strategy", text });
  }
  return problems;
}

/** What a user of these keys should know. */
export function stoppingWarnings({ training }: ResolvedConfig): Finding[] {
  const warnings: Finding[] = [];
  const { early_stopping_patience: patience, load_best_model_at_end, save_strategy } = training;
  if (patience !== null && !load_best_model_at_end) {
    warnings.push({
      key: "training.early_stopping_patience",
      text:
        "the final model is that of the last step, not the best; load_best_model_at_end: true " +
        "keeps the best",
    });
  }
  if (training.save_only_model && save_strategy === "no") {
    const text = "there are no checkpoints: save_strategy is no";
    warnings.push({ key: "training.save_only_model", text });
  }
  return warnings;
}
