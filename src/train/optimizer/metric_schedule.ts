/**
 * What the schedules that follow an evaluation metric have in common: the trainer calls `observe`
 * with the metric of each evaluation, and the rates of all groups change together.
 *
 * @module
 */
import type {
  LearningRateSchedule,
  ScheduleName,
  ScheduleState,
} from "./learning_rate_schedule.ts";
import {
  type MetricRules,
  ratesAsMultiplier,
  readNumber,
  readNumbers,
  storedMetric,
  worstMetric,
} from "./metric_rules.ts";

/** Rates, best metric, and how long it has been the best. */
export abstract class MetricSchedule implements LearningRateSchedule {
  abstract readonly name: ScheduleName;
  readonly followsMetric = true;
  /** Current rate of each parameter group. */
  protected rates: number[];
  protected best: number;
  /** Evaluations since the best one. */
  protected badCount = 0;
  protected cooldownLeft = 0;

  /**
   * @param base learning rate of each parameter group
   * @param rules how a metric is judged
   */
  constructor(protected readonly base: readonly number[], protected readonly rules: MetricRules) {
    this.rates = [...base];
    this.best = worstMetric(rules);
  }

  /** Takes the metric of one evaluation. */
  abstract observe(metric: number): void;

  /** Current rate of the group over its base rate; the step does not matter. */
  multiplier(_step: number, group = 0): number {
    return ratesAsMultiplier(this.rates, this.base, group);
  }

  /** Multiplies the rates by `factor`, down to the lowest. */
  protected lower(): void {
    const { factor, minimumRate, epsilon } = this.rules;
    this.rates = this.rates.map((rate) => {
      const lower = Math.max(rate * factor, minimumRate);
      return rate - lower > epsilon ? lower : rate;
    });
  }

  /** All that a checkpoint must hold. */
  state(): ScheduleState {
    return {
      rates: [...this.rates],
      best: storedMetric(this.best),
      bad_count: this.badCount,
      cooldown_left: this.cooldownLeft,
    };
  }

  /** @throws {RangeError} if the state is another schedule's */
  restore(state: ScheduleState): void {
    this.rates = readNumbers(state, "rates", this.base.length);
    this.best = readNumber(state, "best");
    this.badCount = readNumber(state, "bad_count");
    this.cooldownLeft = readNumber(state, "cooldown_left");
  }
}
