/**
 * The learning-rate schedules, and the arguments that each takes beside the step counts.
 *
 * @module
 */

const METRIC = ["mode", "factor", "patience", "threshold", "threshold_mode", "cooldown"] as const;

/** By name: those of Transformers' `get_scheduler`, and nanoVLM's own train.py as the last one. */
export const SCHEDULE_ARGUMENTS = {
  linear: [],
  cosine: ["num_cycles"],
  cosine_with_restarts: ["num_cycles"],
  polynomial: ["lr_end", "power"],
  constant: [],
  constant_with_warmup: [],
  inverse_sqrt: ["timescale"],
  reduce_lr_on_plateau: [...METRIC, "min_lr", "eps", "verbose"],
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
  greedy: [
    ...METRIC,
    "warmup",
    "min_lr",
    "max_lr",
    "eps",
    "verbose",
    "smooth",
    "window_size",
    "reset_start",
  ],
  nanovlm_cosine: [],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** The name of a schedule, as `training.lr_scheduler_type` holds it. */
export type ScheduleName = keyof typeof SCHEDULE_ARGUMENTS;

/** Every schedule. */
export const SCHEDULE_NAMES: readonly ScheduleName[] = Object.keys(
  SCHEDULE_ARGUMENTS,
) as ScheduleName[];

/** Schedules that follow the metric of the evaluations, not the step. */
export const METRIC_SCHEDULES: readonly ScheduleName[] = ["reduce_lr_on_plateau", "greedy"];
