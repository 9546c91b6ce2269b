/**
 * The two schedules that follow an evaluation metric in place of the step: `reduce_lr_on_plateau`
 * (PyTorch's ReduceLROnPlateau) and `greedy` (GreedyLR, arXiv 2512.14527, as in Transformers 5).
 * The trainer calls `observe` with the metric of each evaluation.
 *
 * @module
 */
import type {
  LearningRateSchedule,
  ScheduleArguments,
  ScheduleState,
} from "./learning_rate_schedule.ts";

/** What both schedules have in common: how a metric is judged, and the rates they change. */
interface MetricRules {
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

function readRules(
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

function isBetter(metric: number, best: number, rules: MetricRules): boolean {
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

function worstMetric(rules: MetricRules): number {
  return rules.mode === "min" ? Infinity : -Infinity;
}

/** JSON has no infinities; as text they survive a checkpoint. */
function storedMetric(metric: number): number | string {
  return Number.isFinite(metric) ? metric : String(metric);
}

function ratesAsMultiplier(
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

function readNumbers(state: ScheduleState, key: string, length: number): number[] {
  const value = state[key];
  if (!Array.isArray(value) || value.length !== length) {
    throw new RangeError(
      `Cannot restore the learning-rate schedule: "${key}" is ${JSON.stringify(value)}, ` +
        `want ${length} numbers; the checkpoint belongs to another configuration`,
    );
  }
  return [...value];
}

function readNumber(state: ScheduleState, key: string): number {
  const value = Number(state[key]);
  if (state[key] === undefined || Number.isNaN(value)) {
    throw new RangeError(
      `Cannot restore the learning-rate schedule: "${key}" is ${JSON.stringify(state[key])}, ` +
        "want a number; the checkpoint belongs to another schedule",
    );
  }
  return value;
}

/**
 * `reduce_lr_on_plateau`: multiplies the rate by `factor` once the metric has not improved for more
 * than `patience` evaluations. Defaults are PyTorch's: min, 0.1, 10, 1e-4 relative, no cooldown.
 */
export class PlateauSchedule implements LearningRateSchedule {
  readonly name = "reduce_lr_on_plateau";
  readonly followsMetric = true;
  readonly #base: readonly number[];
  readonly #rules: MetricRules;
  #rates: number[];
  #best: number;
  #badCount = 0;
  #cooldownLeft = 0;

  /**
   * @param baseRates learning rate of each parameter group
   * @param args PyTorch's names: mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
   * @throws {RangeError} where an argument has a wrong type or range
   */
  constructor(baseRates: readonly number[], args: ScheduleArguments) {
    this.#base = baseRates;
    this.#rates = [...baseRates];
    this.#rules = readRules(this.name, args, {
      mode: "min",
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: "rel",
      cooldown: 0,
      minimumRate: 0,
      epsilon: 1e-8,
    });
    this.#best = worstMetric(this.#rules);
  }

  /** Current rate of the group over its base rate; the step does not matter. */
  multiplier(_step: number, group = 0): number {
    return ratesAsMultiplier(this.#rates, this.#base, group);
  }

  /** Takes the metric of one evaluation. */
  observe(metric: number): void {
    const rules = this.#rules;
    if (isBetter(metric, this.#best, rules)) {
      this.#best = metric;
      this.#badCount = 0;
    } else {
      this.#badCount++;
    }
    if (this.#cooldownLeft > 0) {
      this.#cooldownLeft--;
      this.#badCount = 0; // bad evaluations during the cooldown do not count
    }
    if (this.#badCount > rules.patience) {
      this.#rates = this.#rates.map((rate) => {
        const lower = Math.max(rate * rules.factor, rules.minimumRate);
        return rate - lower > rules.epsilon ? lower : rate;
      });
      this.#cooldownLeft = rules.cooldown;
      this.#badCount = 0;
    }
  }

  /** Rates, best metric and counters. */
  state(): ScheduleState {
    return {
      rates: [...this.#rates],
      best: storedMetric(this.#best),
      bad_count: this.#badCount,
      cooldown_left: this.#cooldownLeft,
    };
  }

  /** @throws {RangeError} where the state is another schedule's */
  restore(state: ScheduleState): void {
    this.#rates = readNumbers(state, "rates", this.#base.length);
    this.#best = readNumber(state, "best");
    this.#badCount = readNumber(state, "bad_count");
    this.#cooldownLeft = readNumber(state, "cooldown_left");
  }
}

/**
 * `greedy`: raises the rate (divides it by `factor`) after more than `patience` improvements in a
 * row and lowers it after as many evaluations without one; goes back to the start after
 * `reset_start` reductions at the lowest rate.
 */
export class GreedySchedule implements LearningRateSchedule {
  readonly name = "greedy";
  readonly followsMetric = true;
  readonly #base: readonly number[];
  readonly #rules: MetricRules;
  readonly #maximumRate: number;
  readonly #warmup: number;
  readonly #resetStart: number;
  /** Metrics are averaged over this many evaluations; 1 = not smoothed. */
  readonly #windowSize: number;
  #window: number[] = [];
  #rates: number[];
  #best: number;
  #badCount = 0;
  #goodCount = 0;
  #cooldownLeft = 0;
  #warmupLeft = 0;
  #resetLeft: number;

  /**
   * @param baseRates learning rate of each parameter group
   * @param args Transformers' names: those of the plateau schedule, and warmup, max_lr, smooth,
   *   window_size, reset_start
   * @throws {RangeError} where an argument has a wrong type or range
   */
  constructor(baseRates: readonly number[], args: ScheduleArguments) {
    this.#base = baseRates;
    this.#rates = [...baseRates];
    this.#rules = readRules(this.name, args, {
      mode: "min",
      factor: 0.95,
      patience: 10,
      threshold: 1e-6,
      thresholdMode: "abs",
      cooldown: 0,
      minimumRate: 1e-3,
      epsilon: 1e-8,
    });
    const number = (key: string, fallback: number): number =>
      typeof args[key] === "number" ? args[key] : fallback;
    this.#maximumRate = number("max_lr", 1);
    this.#warmup = number("warmup", 0);
    this.#windowSize = args.smooth === true ? number("window_size", 50) : 1;
    this.#resetStart = number("reset_start", 500);
    this.#resetLeft = this.#resetStart;
    this.#best = worstMetric(this.#rules);
  }

  /** Current rate of the group over its base rate; the step does not matter. */
  multiplier(_step: number, group = 0): number {
    return ratesAsMultiplier(this.#rates, this.#base, group);
  }

  /** Takes the metric of one evaluation. */
  observe(metric: number): void {
    const rules = this.#rules;
    this.#window.push(metric);
    if (this.#window.length > this.#windowSize) this.#window.shift();
    const current = this.#window.reduce((sum, value) => sum + value, 0) / this.#window.length;

    if (this.#cooldownLeft > 0 || this.#warmupLeft > 0) {
      if (this.#cooldownLeft > 0) this.#cooldownLeft--;
      else this.#warmupLeft--;
      this.#badCount = 0;
      this.#goodCount = 0;
      return;
    }
    if (isBetter(current, this.#best, rules)) {
      this.#best = current;
      this.#badCount = 0;
      this.#goodCount++;
    } else {
      this.#badCount++;
      this.#goodCount = 0;
    }
    if (this.#goodCount > rules.patience) {
      this.#raise();
      this.#warmupLeft = this.#warmup;
      this.#goodCount = 0;
    } else if (this.#badCount > rules.patience) {
      this.#lower();
      this.#cooldownLeft = rules.cooldown;
      this.#badCount = 0;
    }
  }

  #raise(): void {
    this.#rates = this.#rates.map((rate) => {
      const higher = Math.min(rate / this.#rules.factor, this.#maximumRate);
      return higher - rate > this.#rules.epsilon ? higher : rate;
    });
    this.#resetLeft = this.#resetStart;
  }

  #lower(): void {
    const { factor, minimumRate, epsilon } = this.#rules;
    this.#rates = this.#rates.map((rate) => {
      const lower = Math.max(rate * factor, minimumRate);
      return rate - lower > epsilon ? lower : rate;
    });
    if (this.#rates.some((rate) => rate > minimumRate)) return;
    if (--this.#resetLeft > 0) return;
    this.#rates = [...this.#base];
    this.#best = worstMetric(this.#rules);
    this.#badCount =
      this.#goodCount =
      this.#cooldownLeft =
      this.#warmupLeft =
        0;
    this.#resetLeft = this.#resetStart;
    this.#window = [];
  }

  /** Rates, best metric, counters and the averaging window. */
  state(): ScheduleState {
    return {
      rates: [...this.#rates],
      best: storedMetric(this.#best),
      bad_count: this.#badCount,
      good_count: this.#goodCount,
      cooldown_left: this.#cooldownLeft,
      warmup_left: this.#warmupLeft,
      reset_left: this.#resetLeft,
      window: [...this.#window],
    };
  }

  /** @throws {RangeError} where the state is another schedule's */
  restore(state: ScheduleState): void {
    const window = state.window;
    this.#window = Array.isArray(window) ? [...window] : [];
    this.#rates = readNumbers(state, "rates", this.#base.length);
    this.#best = readNumber(state, "best");
    this.#badCount = readNumber(state, "bad_count");
    this.#goodCount = readNumber(state, "good_count");
    this.#cooldownLeft = readNumber(state, "cooldown_left");
    this.#warmupLeft = readNumber(state, "warmup_left");
    this.#resetLeft = readNumber(state, "reset_left");
  }
}
