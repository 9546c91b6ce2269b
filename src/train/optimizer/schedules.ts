/**
 * Learning-rate schedules: every name that Transformers' `get_scheduler` knows.
 *
 * A schedule gives a multiplier of the base learning rate for each optimizer step (0-based). With a
 * warmup the first step has multiplier 0, as in Transformers. The formulas below are those of
 * `transformers/optimization.py` (4.57 for all but `greedy`, which came with 5).
 *
 * @module
 */
import { SCHEDULE_ARGUMENTS } from "../../config/schema/schedule_arguments.ts";
import { GreedySchedule } from "./greedy_schedule.ts";
import {
  type LearningRateSchedule,
  SCHEDULE_NAMES,
  type ScheduleArguments,
  type ScheduleName,
  type ScheduleState,
} from "./learning_rate_schedule.ts";
import { PlateauSchedule } from "./plateau_schedule.ts";

export { type LearningRateSchedule, SCHEDULE_NAMES, type ScheduleName };
export type { ScheduleArguments, ScheduleState };

/** What a schedule is made from. */
export interface ScheduleOptions {
  name: ScheduleName;
  /** Optimizer steps of warmup; see {@link warmupStepCount}. */
  warmupSteps: number;
  /** Optimizer steps of the whole run. */
  totalSteps: number;
  /** Learning rate at multiplier 1; needed by schedules whose arguments are absolute rates. */
  baseLearningRate: number;
  /** One base rate a parameter group, for `reduce_lr_on_plateau` and `greedy`. */
  groupLearningRates?: readonly number[];
  /** The schedule's own arguments, with Transformers' names (num_cycles, lr_end, min_lr, …). */
  arguments?: ScheduleArguments;
}

/**
 * Warmup in steps, by the rule of Transformers' TrainingArguments: `warmup_steps` if it is 1 or
 * more, else the given share of all steps, rounded up. A `warmup_steps` between 0 and 1 is a share
 * too, as in Transformers 5.
 *
 * @example A tenth of 12 steps is rounded up
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { warmupStepCount } from "./schedules.ts";
 *
 * assertEquals(warmupStepCount(12, { warmupRatio: 0.1 }), 2);
 * assertEquals(warmupStepCount(12, { warmupRatio: 0.1, warmupSteps: 5 }), 5);
 * ```
 */
export function warmupStepCount(
  totalSteps: number,
  options: { warmupRatio?: number; warmupSteps?: number },
): number {
  const steps = options.warmupSteps ?? 0;
  if (steps >= 1) return Math.floor(steps);
  return Math.ceil(totalSteps * (steps > 0 ? steps : options.warmupRatio ?? 0));
}

/**
 * Makes a schedule.
 *
 * @throws {RangeError} if the name or an argument of the schedule is not one that it takes
 *
 * @example Half a cosine after two steps of warmup
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { createSchedule } from "./schedules.ts";
 *
 * const schedule = createSchedule({
 *   name: "cosine", warmupSteps: 2, totalSteps: 12, baseLearningRate: 1e-3,
 * });
 * assertAlmostEquals(schedule.multiplier(1), 0.5, 1e-12);
 * assertAlmostEquals(schedule.multiplier(7), 0.5, 1e-12);
 * ```
 */
export function createSchedule(options: ScheduleOptions): LearningRateSchedule {
  const { name } = options;
  const args = options.arguments ?? {};
  const groupRates = options.groupLearningRates ?? [options.baseLearningRate];
  const allowed: readonly string[] | undefined = SCHEDULE_ARGUMENTS[name];
  if (allowed === undefined) {
    throw new RangeError(
      `Cannot make a learning-rate schedule: "${name}" is not one; want ${
        SCHEDULE_NAMES.join(", ")
      }; set training.lr_scheduler_type`,
    );
  }
  for (const key of Object.keys(args)) {
    if (!allowed.includes(key)) {
      throw new RangeError(
        `Cannot make the ${name} schedule: it has no argument "${key}"; want ${
          allowed.length === 0 ? "none" : allowed.join(", ")
        }; correct training.lr_scheduler_kwargs`,
      );
    }
  }
  if (name === "reduce_lr_on_plateau") return new PlateauSchedule(groupRates, args);
  if (name === "greedy") return new GreedySchedule(groupRates, args);
  const formula = stepFormula(options, args);
  return {
    name,
    followsMetric: false,
    multiplier: (step: number): number => formula(step),
    observe: (): void => {},
    state: (): ScheduleState => ({}),
    restore: (): void => {},
  };
}

function stepFormula(options: ScheduleOptions, args: ScheduleArguments): (step: number) => number {
  const { name, warmupSteps: warmup, totalSteps: total, baseLearningRate } = options;
  const afterWarmup = Math.max(1, total - warmup);
  const number = (key: string, fallback: number): number =>
    numberArgument(name, args, key, fallback);
  /** Linear warmup from 0, then `rest` of the progress from 0 (end of warmup) to 1 (last step). */
  const warmed = (rest: (progress: number, step: number) => number) => (step: number): number =>
    step < warmup ? step / Math.max(1, warmup) : rest((step - warmup) / afterWarmup, step);

  switch (name) {
    case "linear":
      return warmed((_, step) => Math.max(0, (total - step) / afterWarmup));
    case "cosine": {
      const cycles = number("num_cycles", 0.5);
      return warmed((progress) => Math.max(0, cosineFactor(cycles, progress)));
    }
    case "cosine_with_restarts": {
      const cycles = number("num_cycles", 1);
      return warmed((progress) =>
        progress >= 1 ? 0 : 0.5 * (1 + Math.cos(Math.PI * ((cycles * progress) % 1)))
      );
    }
    case "polynomial": {
      const end = number("lr_end", 1e-7), power = number("power", 1);
      if (!(end < baseLearningRate)) {
        throw new RangeError(
          `Cannot make the polynomial schedule: lr_end is ${end}, which is not below the learning ` +
            `rate ${baseLearningRate}; lower lr_end in training.lr_scheduler_kwargs`,
        );
      }
      const endRatio = end / baseLearningRate;
      return warmed((progress, step) =>
        step > total ? endRatio : (1 - endRatio) * (1 - progress) ** power + endRatio
      );
    }
    case "constant":
      return () => 1;
    case "constant_with_warmup":
      return warmed(() => 1);
    case "inverse_sqrt": {
      const timescale = number("timescale", warmup || 10_000);
      if (!(timescale > 0)) {
        throw new RangeError(
          `Cannot make the inverse_sqrt schedule: timescale is ${timescale}, want a number above ` +
            "0; correct training.lr_scheduler_kwargs",
        );
      }
      return warmed((_, step) => 1 / Math.sqrt((step - warmup + timescale) / timescale));
    }
    case "cosine_with_min_lr": {
      const cycles = number("num_cycles", 0.5), floor = minimumRatio(options, args);
      return warmed((progress) =>
        Math.max(0, cosineFactor(cycles, progress) * (1 - floor) + floor)
      );
    }
    case "cosine_warmup_with_min_lr": {
      const cycles = number("num_cycles", 0.5), floor = minimumRatio(options, args);
      const start = args.warmup_lr_rate == null ? null : number("warmup_lr_rate", 0);
      return (step) => {
        if (step < warmup) {
          if (start === null) return (step + 1) / Math.max(1, warmup);
          return start + (1 - start) * step / Math.max(1, warmup - 1);
        }
        const factor = cosineFactor(cycles, (step - warmup + 1) / afterWarmup);
        return Math.max(0, factor * (1 - floor) + floor);
      };
    }
    case "warmup_stable_decay":
      return warmupStableDecay(options, args);
    case "nanovlm_cosine": {
      // nanoVLM's train.py get_lr: warmup from 1/warmup, then a cosine down to a tenth, then flat.
      const floor = 0.1;
      return (step) => {
        if (step < warmup) return (step + 1) / warmup;
        if (step > total) return floor;
        return floor + (1 - floor) * cosineFactor(0.5, (step - warmup) / afterWarmup);
      };
    }
    default:
      throw new RangeError(`Cannot make the ${name} schedule from the step alone`);
  }
}

/** (1 + cos(2π · cycles · progress)) / 2: with half a cycle, from 1 down to 0. */
function cosineFactor(cycles: number, progress: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress));
}

/**
 * Warmup, then constant, then decay to `min_lr_ratio` (Hu et al., "MiniCPM", arXiv 2404.06395,
 * section 4).
 */
function warmupStableDecay(
  options: ScheduleOptions,
  args: ScheduleArguments,
): (step: number) => number {
  const { name, warmupSteps: warmup, totalSteps: total } = options;
  const decay = numberArgument(name, args, "num_decay_steps", NaN);
  if (Number.isNaN(decay)) {
    throw new RangeError(
      "Cannot make the warmup_stable_decay schedule: num_decay_steps is missing; " +
        "set training.lr_scheduler_kwargs.num_decay_steps",
    );
  }
  const stable = numberArgument(name, args, "num_stable_steps", total - warmup - decay);
  const floor = numberArgument(name, args, "min_lr_ratio", 0);
  const cycles = numberArgument(name, args, "num_cycles", 0.5);
  const warmupType = shapeArgument(name, args, "warmup_type", "linear");
  const decayType = shapeArgument(name, args, "decay_type", "cosine");
  const lifted = (factor: number): number => Math.max(0, factor * (1 - floor) + floor);
  return (step) => {
    if (step < warmup) {
      const progress = step / Math.max(1, warmup);
      if (warmupType === "linear") return lifted(progress);
      if (warmupType === "cosine") return lifted(0.5 * (1 - Math.cos(Math.PI * progress)));
      return lifted(1 - Math.sqrt(1 - progress));
    }
    if (step < warmup + stable) return 1;
    if (step >= warmup + stable + decay) return floor;
    const progress = (step - warmup - stable) / Math.max(1, decay);
    if (decayType === "linear") return lifted(1 - progress);
    if (decayType === "cosine") return lifted(cosineFactor(cycles, progress));
    return lifted(1 - Math.sqrt(progress));
  };
}

/** The lowest multiplier, from `min_lr_rate` (a ratio) or `min_lr` (a rate). */
function minimumRatio(options: ScheduleOptions, args: ScheduleArguments): number {
  const hasRate = args.min_lr != null, hasRatio = args.min_lr_rate != null;
  if (hasRate === hasRatio) {
    throw new RangeError(
      `Cannot make the ${options.name} schedule: got ${
        hasRate ? "both" : "neither"
      } of min_lr and min_lr_rate, want one of them in training.lr_scheduler_kwargs`,
    );
  }
  if (hasRatio) return numberArgument(options.name, args, "min_lr_rate", 0);
  return numberArgument(options.name, args, "min_lr", 0) / options.baseLearningRate;
}

function numberArgument(
  schedule: string,
  args: ScheduleArguments,
  key: string,
  fallback: number,
): number {
  const value = args[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new RangeError(
    `Cannot make the ${schedule} schedule: ${key} is ${JSON.stringify(value)}, want a number; ` +
      "correct training.lr_scheduler_kwargs",
  );
}

function shapeArgument(
  schedule: string,
  args: ScheduleArguments,
  key: string,
  fallback: string,
): string {
  const value = args[key] ?? fallback;
  if (value === "linear" || value === "cosine" || value === "1-sqrt") return value;
  throw new RangeError(
    `Cannot make the ${schedule} schedule: ${key} is ${JSON.stringify(value)}, want linear, ` +
      "cosine or 1-sqrt; correct training.lr_scheduler_kwargs",
  );
}
