/**
 * Whether a learning-rate schedule has the arguments and the evaluations that it needs.
 *
 * @module
 */
import type { ResolvedConfig } from "../types/config_types.ts";
import { nearestName } from "../nearest.ts";
import { METRIC_SCHEDULES, SCHEDULE_ARGUMENTS } from "./schedule_arguments.ts";

/** Mistakes in `lr_scheduler_kwargs`, as Transformers would raise them. */
export function schedulerProblems({ training }: ResolvedConfig): { key: string; text: string }[] {
  const { lr_scheduler_type: name, lr_scheduler_kwargs: given, eval_strategy } = training;
  const problems: { key: string; text: string }[] = [];
  const known: readonly string[] = SCHEDULE_ARGUMENTS[name];
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
  if (METRIC_SCHEDULES.includes(name) && eval_strategy === "no") {
    problems.push({
      key: "training.lr_scheduler_type",
      text: `${name} watches the evaluation; set eval_strategy to steps or epoch`,
    });
  }
  return problems;
}
