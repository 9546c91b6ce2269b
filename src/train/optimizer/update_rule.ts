/**
 * What one optimizer does differently from another: the state that it keeps for a parameter, and
 * the update.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type {
  OptimizerName,
  OptimizerValue,
} from "../../config/schema/optimizer/optimizer_names.ts";
import type { StateArray, StateSpec } from "../../ops/updates/state_array.ts";

/** AdamW's constants, as far as other optimizers have them theirs too. */
export interface AdamWOptions {
  beta1: number;
  beta2: number;
  eps: number;
  /** Gradients are scaled down to this global norm; 0: no clipping. */
  maxGradNorm: number;
}

/** Which optimizer, and with what. */
export interface OptimizerOptions extends AdamWOptions {
  /** Default: `adamw_torch`. */
  readonly name?: OptimizerName;
  /** Its own arguments, by the names of `OPTIMIZER_ARGUMENTS`; default: its defaults. */
  readonly arguments?: Readonly<Record<string, OptimizerValue>>;
  /** Steps over which schedule-free AdamW raises its rates; other optimizers leave it to the schedule. */
  readonly warmupSteps?: number;
}

/** The state of a parameter by torch's names: `exp_avg`, … */
export type NamedState = Readonly<Record<string, StateArray>>;

/** An update of one parameter. */
export interface RuleUpdate {
  readonly name: string;
  readonly parameter: tf.Variable;
  /** Of the parameter's shape. */
  readonly gradient: tf.Tensor;
  readonly state: NamedState;
  /** Of its group, by the schedule. */
  readonly learningRate: number;
  readonly weightDecay: number;
  /** t, counted from 1, of this parameter. */
  readonly step: number;
  /** The gradient is multiplied by it first. */
  readonly gradientScale: number;
  /** The name of its group. */
  readonly group: string;
}

/** One optimizer. */
export interface UpdateRule {
  readonly name: OptimizerName;
  /** The state that it keeps for a parameter. */
  stateOf(name: string, shape: readonly number[]): Readonly<Record<string, StateSpec>>;
  /** Floats that an update of a parameter holds beside state and gradient; default: none. */
  temporaryFloats?(name: string, shape: readonly number[], backend: string): number;
  /** Called before the updates of a step, with every group's rate. */
  beginStep?(rates: ReadonlyMap<string, number>): void;
  /** Updates parameters and states in place. */
  update(updates: readonly RuleUpdate[]): void;
  /**
   * Sets a parameter to the weights to evaluate and to save, which are its average over steps; absent:
   * those are the weights that train.
   */
  readonly setAverage?: (parameter: tf.Variable, state: NamedState) => void;
  /** What a group's rate was multiplied by in the last step; default: 1. */
  rateFactor?(group: string): number;
  /** Numbers of a checkpoint beside the arrays; default: none. */
  numbers?(): Record<string, number>;
  /** Takes back what `numbers` gave. */
  restoreNumbers?(numbers: Readonly<Record<string, number>>): void;
}
