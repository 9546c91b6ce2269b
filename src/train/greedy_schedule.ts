/**
 * The schedule `greedy`: GreedyLR, arXiv 2512.14527, as in Transformers 5. The trainer calls
 * `observe` with the metric of each evaluation.
 *
 * @module
 */
import type {
  LearningRateSchedule,
  ScheduleArguments,
  ScheduleState,
} from "./learning_rate_schedule.ts";
import {
  isBetter,
  type MetricRules,
  ratesAsMultiplier,
  readNumber,
  readNumbers,
  readRules,
  storedMetric,
  worstMetric,
} from "./metric_rules.ts";

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
