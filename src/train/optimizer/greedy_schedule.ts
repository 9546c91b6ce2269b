/**
 * The schedule `greedy`: GreedyLR, arXiv 2512.14527, as in Transformers 5.
 *
 * @module
 */
import type { ScheduleArguments, ScheduleState } from "./learning_rate_schedule.ts";
import { isBetter, type MetricRules, readNumber, readRules, worstMetric } from "./metric_rules.ts";
import { MetricSchedule } from "./metric_schedule.ts";

/** Transformers'. */
const DEFAULTS: MetricRules = {
  mode: "min",
  factor: 0.95,
  patience: 10,
  threshold: 1e-6,
  thresholdMode: "abs",
  cooldown: 0,
  minimumRate: 1e-3,
  epsilon: 1e-8,
};

/**
 * `greedy`: raises the rate (divides it by `factor`) after more than `patience` improvements in a
 * row and lowers it after as many evaluations without one; returns to the start after
 * `reset_start` reductions at the lowest rate.
 */
export class GreedySchedule extends MetricSchedule {
  readonly name = "greedy";
  readonly #maximumRate: number;
  readonly #warmup: number;
  readonly #resetStart: number;
  /** Metrics are averaged over this many evaluations; 1 = not smoothed. */
  readonly #windowSize: number;
  #window: number[] = [];
  #goodCount = 0;
  #warmupLeft = 0;
  #resetLeft: number;

  /**
   * @param baseRates learning rate of each parameter group
   * @param args Transformers' names: those of the plateau schedule, and warmup, max_lr, smooth,
   *   window_size, reset_start
   * @throws {RangeError} if an argument has a wrong type or range
   */
  constructor(baseRates: readonly number[], args: ScheduleArguments) {
    super(baseRates, readRules("greedy", args, DEFAULTS));
    const number = (key: string, fallback: number): number =>
      typeof args[key] === "number" ? args[key] : fallback;
    this.#maximumRate = number("max_lr", 1);
    this.#warmup = number("warmup", 0);
    this.#windowSize = args.smooth === true ? number("window_size", 50) : 1;
    this.#resetStart = number("reset_start", 500);
    this.#resetLeft = this.#resetStart;
  }

  observe(metric: number): void {
    const { rules } = this;
    this.#window.push(metric);
    if (this.#window.length > this.#windowSize) this.#window.shift();
    const current = this.#window.reduce((sum, value) => sum + value, 0) / this.#window.length;

    if (this.cooldownLeft > 0 || this.#warmupLeft > 0) {
      if (this.cooldownLeft > 0) this.cooldownLeft--;
      else this.#warmupLeft--;
      this.badCount = 0;
      this.#goodCount = 0;
      return;
    }
    if (isBetter(current, this.best, rules)) {
      this.best = current;
      this.badCount = 0;
      this.#goodCount++;
    } else {
      this.badCount++;
      this.#goodCount = 0;
    }
    if (this.#goodCount > rules.patience) {
      this.#raise();
      this.#warmupLeft = this.#warmup;
      this.#goodCount = 0;
    } else if (this.badCount > rules.patience) {
      this.#lowerOrReset();
      this.cooldownLeft = rules.cooldown;
      this.badCount = 0;
    }
  }

  #raise(): void {
    this.rates = this.rates.map((rate) => {
      const higher = Math.min(rate / this.rules.factor, this.#maximumRate);
      return higher - rate > this.rules.epsilon ? higher : rate;
    });
    this.#resetLeft = this.#resetStart;
  }

  #lowerOrReset(): void {
    this.lower();
    if (this.rates.some((rate) => rate > this.rules.minimumRate)) return;
    if (--this.#resetLeft > 0) return;
    this.rates = [...this.base];
    this.best = worstMetric(this.rules);
    this.#goodCount = 0;
    this.#warmupLeft = 0;
    this.#resetLeft = this.#resetStart;
    this.#window = [];
  }

  override state(): ScheduleState {
    return {
      ...super.state(),
      good_count: this.#goodCount,
      warmup_left: this.#warmupLeft,
      reset_left: this.#resetLeft,
      window: [...this.#window],
    };
  }

  override restore(state: ScheduleState): void {
    super.restore(state);
    const { window } = state;
    this.#window = Array.isArray(window) ? [...window] : [];
    this.#goodCount = readNumber(state, "good_count");
    this.#warmupLeft = readNumber(state, "warmup_left");
    this.#resetLeft = readNumber(state, "reset_left");
  }
}
