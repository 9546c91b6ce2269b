/**
 * Which arguments each learning-rate schedule takes.
 *
 * @module
 */
import type { ResolvedConfig, SchedulerName } from "./config_types.ts";
import { nearestName } from "./nearest.ts";

/** Transformers' `get_*_schedule` functions and their arguments beside the step counts. */
const SCHEDULER_ARGUMENTS: Readonly<Record<SchedulerName, readonly string[]>> = {
  linear: [],
  cosine: ["num_cycles"],
  cosine_with_restarts: ["num_cycles"],
  polynomial: ["lr_end", "power"],
  constant: [],
  constant_with_warmup: [],
  inverse_sqrt: ["timescale"],
  reduce_lr_on_plateau: [
    "mode",
    "factor",
    "patience",
    "threshold",
    "threshold_mode",
    "cooldown",
    "min_lr",
    "eps",
  ],
  cosine_with_min_lr: ["num_cycles", "min_lr", "min_lr_rate"],
  cosine_warmup_with_min_lr: ["num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"],
  warmup_stable_decay: [
    "num_decay_steps",
    "num_stable_steps",
    "warmup_type",
    "decay_type",
    "min_lr_ratio",
    "num_cycles",
  ],
};

/** Mistakes in `lr_scheduler_kwargs`, as Transformers would raise them. */
export function schedulerProblems({ training }: ResolvedConfig): { key: string; text: string }[] {
  const { lr_scheduler_type: name, lr_scheduler_kwargs: given, eval_strategy } = training;
  const problems: { key: string; text: string }[] = [];
  const known = SCHEDULER_ARGUMENTS[name];
  for (const argument of Object.keys(given)) {
    if (known.includes(argument)) continue;
    const nearest = nearestName(argument, known);
    const takes = known.length === 0 ? "takes no arguments" : `takes ${known.join(", ")}`;
    problems.push({
      key: `training.lr_scheduler_kwargs.${argument}`,
      text: `the schedule ${name} ${takes}${nearest ? `; did you mean ${nearest}?` : ""}`,
    });
  }
  const key = "training.lr_scheduler_kwargs";
  if (name === "cosine_with_min_lr" || name === "cosine_warmup_with_min_lr") {
    if (("min_lr" in given) === ("min_lr_rate" in given)) {
      problems.push({ key, text: `the schedule ${name} needs one of min_lr and min_lr_rate` });
    }
  }
  if (name === "warmup_stable_decay" && !("num_decay_steps" in given)) {
    problems.push({ key, text: `the schedule ${name} needs num_decay_steps` });
  }
  if (name === "reduce_lr_on_plateau" && eval_strategy === "no") {
    problems.push({
      key: "training.lr_scheduler_type",
      text: "reduce_lr_on_plateau watches the evaluation; set eval_strategy to steps or epoch",
    });
  }
  return problems;
}
