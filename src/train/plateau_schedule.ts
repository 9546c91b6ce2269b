/**
 * The schedule `reduce_lr_on_plateau`: PyTorch's ReduceLROnPlateau. The trainer calls `observe` with
 * the metric of each evaluation.
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
