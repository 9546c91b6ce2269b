/**
 * How a schedule that follows an evaluation metric judges it, and what it keeps in a checkpoint.
 *
 * @module
 */
import type { ScheduleArguments, ScheduleState } from "./learning_rate_schedule.ts";

/** What both schedules have in common: how a metric is judged, and the rates they change. */
export interface MetricRules {
  mode: "min" | "max";
  factor: number;
  patience: number;
  threshold: number;
  thresholdMode: "rel" | "abs";
  cooldown: number;
  minimumRate: number;
  /** A change of rate smaller than this is not made. */
  epsilon: number;
}

/** Reads and checks a schedule's arguments. */
export function readRules(
  schedule: string,
  args: ScheduleArguments,
  defaults: MetricRules,
): MetricRules {
  const wrong = (key: string, want: string): RangeError =>
    new RangeError(
      `Cannot make the ${schedule} schedule: ${key} is ${JSON.stringify(args[key])}, ` +
        `want ${want}; correct training.lr_scheduler_kwargs`,
    );
  const number = (key: string, fallback: number): number => {
    const value = args[key] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(key, "a number");
    return value;
  };
  const mode = args.mode ?? defaults.mode;
  if (mode !== "min" && mode !== "max") throw wrong("mode", "min or max");
  const thresholdMode = args.threshold_mode ?? defaults.thresholdMode;
  if (thresholdMode !== "rel" && thresholdMode !== "abs") {
    throw wrong("threshold_mode", "rel or abs");
  }
  const factor = number("factor", defaults.factor);
  if (!(factor < 1)) throw wrong("factor", "a number below 1");
  return {
    mode,
    factor,
    patience: number("patience", defaults.patience),
    threshold: number("threshold", defaults.threshold),
    thresholdMode,
    cooldown: number("cooldown", defaults.cooldown),
    minimumRate: number("min_lr", defaults.minimumRate),
    epsilon: number("eps", defaults.epsilon),
  };
}

/** Whether a metric beats the best one by more than the threshold. */
export function isBetter(metric: number, best: number, rules: MetricRules): boolean {
  // With "rel" the best may be infinite at first, and infinity times anything stays infinite.
  if (rules.mode === "min") {
    const bound = rules.thresholdMode === "rel"
      ? best * (1 - rules.threshold)
      : best - rules.threshold;
    return metric < bound;
  }
  const bound = rules.thresholdMode === "rel"
    ? best * (1 + rules.threshold)
    : best + rules.threshold;
  return metric > bound;
}

/** What any metric beats. */
export function worstMetric(rules: MetricRules): number {
  return rules.mode === "min" ? Infinity : -Infinity;
}

/** JSON has no infinities; as text they survive a checkpoint. */
export function storedMetric(metric: number): number | string {
  return Number.isFinite(metric) ? metric : String(metric);
}

/** A group's current rate over its base rate. */
export function ratesAsMultiplier(
  rates: readonly number[],
  base: readonly number[],
  group: number,
): number {
  if (group < 0 || group >= rates.length) {
    throw new RangeError(
      `Cannot give the multiplier of group ${group}: the schedule was made with ${rates.length} ` +
        "groups; pass one entry a group as groupLearningRates",
    );
  }
  return base[group] === 0 ? 1 : rates[group] / base[group]; // a frozen group stays frozen
}

/** A list of numbers out of a state. */
export function readNumbers(state: ScheduleState, key: string, length: number): number[] {
  const value = state[key];
  if (!Array.isArray(value) || value.length !== length) {
    throw new RangeError(
      `Cannot restore the learning-rate schedule: "${key}" is ${JSON.stringify(value)}, ` +
        `want ${length} numbers; the checkpoint belongs to another configuration`,
    );
  }
  return [...value];
}

/** A number out of a state. */
export function readNumber(state: ScheduleState, key: string): number {
  const value = Number(state[key]);
  if (state[key] === undefined || Number.isNaN(value)) {
    throw new RangeError(
      `Cannot restore the learning-rate schedule: "${key}" is ${JSON.stringify(state[key])}, ` +
        "want a number; the checkpoint belongs to another schedule",
    );
  }
  return value;
}
