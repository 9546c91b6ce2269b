/**
 * What a learning-rate schedule is: its name, its arguments and what the trainer asks of it.
 *
 * @module
 */
import { SCHEDULE_NAMES, type ScheduleName } from "../../config/schema/schedule_arguments.ts";

export { SCHEDULE_NAMES, type ScheduleName };

/** Further numbers and words of a schedule, as `training.lr_scheduler_kwargs` holds them. */
export type ScheduleArguments = Record<string, number | string | boolean | null | undefined>;

/** What a schedule must remember between steps; plain JSON. */
export type ScheduleState = Record<string, number | string | number[]>;

/** A learning rate over the steps of a run. */
export interface LearningRateSchedule {
  readonly name: ScheduleName;
  /** True if the schedule follows an evaluation metric, given to `observe`, not the step. */
  readonly followsMetric: boolean;
  /**
   * Learning rate over base learning rate.
   *
   * @param step optimizer step, 0-based
   * @param group index of the parameter group; matters only if `followsMetric`
   */
  multiplier(step: number, group?: number): number;
  /** Tells the schedule the metric of an evaluation; does nothing unless `followsMetric`. */
  observe(metric: number): void;
  /** All that a checkpoint must hold; `{}` unless `followsMetric`. */
  state(): ScheduleState;
  /** Takes back what `state` gave. */
  restore(state: ScheduleState): void;
}
