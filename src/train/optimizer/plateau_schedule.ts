/**
 * The schedule `reduce_lr_on_plateau`: PyTorch's ReduceLROnPlateau.
 *
 * @module
 */
import type { ScheduleArguments } from "./learning_rate_schedule.ts";
import { isBetter, type MetricRules, readRules } from "./metric_rules.ts";
import { MetricSchedule } from "./metric_schedule.ts";

/** PyTorch's. */
const DEFAULTS: MetricRules = {
  mode: "min",
  factor: 0.1,
  patience: 10,
  threshold: 1e-4,
  thresholdMode: "rel",
  cooldown: 0,
  minimumRate: 0,
  epsilon: 1e-8,
};

/**
 * `reduce_lr_on_plateau`: multiplies the rate by `factor` once the metric has not improved for more
 * than `patience` evaluations.
 */
export class PlateauSchedule extends MetricSchedule {
  readonly name = "reduce_lr_on_plateau";

  /**
   * @param baseRates learning rate of each parameter group
   * @param args PyTorch's names: mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
   * @throws {RangeError} if an argument has a wrong type or range
   */
  constructor(baseRates: readonly number[], args: ScheduleArguments) {
    super(baseRates, readRules("reduce_lr_on_plateau", args, DEFAULTS));
  }

  observe(metric: number): void {
    if (isBetter(metric, this.best, this.rules)) {
      this.best = metric;
      this.badCount = 0;
    } else {
      this.badCount++;
    }
    if (this.cooldownLeft > 0) {
      this.cooldownLeft--;
      this.badCount = 0; // bad evaluations during the cooldown do not count
    }
    if (this.badCount > this.rules.patience) {
      this.lower();
      this.cooldownLeft = this.rules.cooldown;
      this.badCount = 0;
    }
  }
}
