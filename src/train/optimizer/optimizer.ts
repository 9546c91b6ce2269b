/**
 * AdamW over groups of parameters, with clipping by the global norm: what Transformers' Trainer
 * does between two optimizer steps.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import {
  adamw,
  type AdamWSlot,
  type AdamWUpdate,
  createMoment,
  disposeMoment,
  gradientNorm,
  setMoment,
} from "../../ops/optimizer.ts";
import { firstBadValue } from "./first_bad_tensor.ts";

/** Parameters that share a learning rate and a weight decay. */
export interface ParameterGroup {
  /** For example `modality_projector`. */
  name: string;
  /** At multiplier 1. */
  learningRate: number;
  weightDecay: number;
  parameters: Map<string, tf.Variable>;
}

/** AdamW's constants. */
export interface AdamWOptions {
  beta1: number;
  beta2: number;
  eps: number;
  /** Gradients are scaled down to this global norm; 0: no clipping. */
  maxGradNorm: number;
}

/** torch.optim.AdamW's defaults, and Trainer's clipping. */
export const ADAMW_DEFAULTS: AdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8, maxGradNorm: 1 };

/** The moments on the host, as a checkpoint keeps them. */
export interface OptimizerState {
  /** Updates that each parameter has had. */
  steps: Record<string, number>;
  firstMoments: Map<string, Float32Array>;
  secondMoments: Map<string, Float32Array>;
}

/** A loss, gradient or weight that is NaN or infinite. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  /**
   * @param tensor name of the first bad tensor
   * @param losses of the step, if they are finite and its gradients are not
   */
  constructor(
    message: string,
    readonly tensor: string,
    readonly losses: readonly number[] | null = null,
  ) {
    super(message);
  }
}

interface Slot extends AdamWSlot {
  group: ParameterGroup;
  steps: number;
}

/** AdamW with decoupled weight decay (Loshchilov and Hutter, 2019). */
export class Optimizer {
  readonly #slots = new Map<string, Slot>();

  /**
   * @param groups the trainable parameters; no name twice
   * @param options AdamW's constants
   */
  constructor(readonly groups: readonly ParameterGroup[], readonly options: AdamWOptions) {
    for (const group of groups) {
      for (const [name, parameter] of group.parameters) {
        if (this.#slots.has(name)) throw new Error(`Cannot train ${name} in two groups`);
        this.#slots.set(name, {
          group,
          parameter,
          firstMoment: createMoment(parameter),
          secondMoment: createMoment(parameter),
          steps: 0,
        });
      }
    }
  }

  /** All trainable parameters by name. */
  get parameters(): Map<string, tf.Variable> {
    return new Map([...this.#slots].map(([name, slot]) => [name, slot.parameter]));
  }

  /**
   * The global norm of the gradients, read back together with the losses of the step.
   *
   * @param gradients of the whole step
   * @param losses scalars to read in the same go
   * @param lossScale what the gradients are multiplied by; the norm is without it. A power of two
   *   takes nothing from a norm's bits
   * @throws {NonFiniteError} if one of them is not finite; names the first bad tensor
   */
  async measure(
    gradients: ReadonlyMap<string, tf.Tensor>,
    losses: readonly tf.Scalar[],
    lossScale = 1,
  ): Promise<{ gradNorm: number; losses: number[] }> {
    const norm = gradients.size > 0 ? gradientNorm([...gradients.values()]) : tf.scalar(0);
    const values = (await readBack([norm, ...losses])).map(([value]) => value);
    norm.dispose();
    if (values.every(Number.isFinite)) {
      return { gradNorm: values[0] / lossScale, losses: values.slice(1) };
    }
    const bad = await firstBadValue(gradients);
    const finiteLosses = values.slice(1).every(Number.isFinite);
    const loss = `the loss is ${values.slice(1).join(", ")}`;
    if (bad !== null) {
      const gradient = `the gradient of ${bad.name} is ${bad.value} at element ${bad.index}`;
      throw new NonFiniteError(
        finiteLosses ? gradient : `${loss}, and ${gradient}`,
        bad.name,
        finiteLosses ? values.slice(1) : null,
      );
    }
    throw new NonFiniteError(
      finiteLosses
        ? "the gradients are finite one by one, but the norm of all of them is not"
        : loss,
      finiteLosses ? "gradient norm" : "loss",
      finiteLosses ? values.slice(1) : null,
    );
  }

  /**
   * Clips and updates. Parameters without a gradient stay as they are, moments included.
   *
   * @param gradients of the whole step
   * @param gradNorm their global norm, without the loss scale
   * @param multiplier of every group's learning rate, or one for each group
   * @param lossScale what the gradients are multiplied by
   */
  step(
    gradients: ReadonlyMap<string, tf.Tensor>,
    gradNorm: number,
    multiplier: number | readonly number[],
    lossScale = 1,
  ): void {
    const { beta1, beta2, eps, maxGradNorm } = this.options;
    const clipping = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
    const gradientScale = clipping / lossScale;
    const updates = Array.from(gradients, ([name, gradient]): AdamWUpdate => {
      const slot = this.#slots.get(name);
      if (!slot) throw new Error(`Cannot update ${name}: it is in no parameter group`);
      slot.steps++;
      const groupMultiplier = typeof multiplier === "number"
        ? multiplier
        : multiplier[this.groups.indexOf(slot.group)];
      const { parameter, firstMoment, secondMoment } = slot;
      const numbers = {
        learningRate: slot.group.learningRate * groupMultiplier,
        weightDecay: slot.group.weightDecay,
        ...{ beta1, beta2, eps, step: slot.steps, gradientScale },
      };
      return { parameter, gradient, firstMoment, secondMoment, numbers };
    });
    adamw(updates);
  }

  /**
   * The moments on the host. Those that are there anyway are given as they are and change with the
   * next step: a checkpoint, which is written before it, needs no second copy of them.
   */
  async state(): Promise<OptimizerState> {
    const slots = [...this.#slots];
    const moments = slots.flatMap(([, slot]) => [slot.firstMoment, slot.secondMoment]);
    const onDevice = moments.filter((moment) => !(moment instanceof Float32Array));
    const read = await readBack(onDevice as tf.Variable[]);
    const values = moments.map((moment) => moment instanceof Float32Array ? moment : read.shift());
    return {
      steps: Object.fromEntries(slots.map(([name, slot]) => [name, slot.steps])),
      firstMoments: new Map(slots.map(([name], i) => [name, values[2 * i] as Float32Array])),
      secondMoments: new Map(slots.map(([name], i) => [name, values[2 * i + 1] as Float32Array])),
    };
  }

  /**
   * Continues from a saved state.
   *
   * @throws {Error} if it lacks a parameter or has another number of elements
   */
  restore(state: OptimizerState): void {
    for (const [name, slot] of this.#slots) {
      const first = state.firstMoments.get(name), second = state.secondMoments.get(name);
      if (!first || !second || first.length !== slot.parameter.size) {
        throw new Error(
          `Cannot resume the optimizer: the checkpoint has ${first?.length ?? "no"} values for ` +
            `${name}, want ${slot.parameter.size}; was it written by another config?`,
        );
      }
      setMoment(slot.firstMoment, first);
      setMoment(slot.secondMoment, second);
      slot.steps = state.steps[name] ?? 0;
    }
  }

  /** Frees the moments; the parameters are the model's. */
  dispose(): void {
    for (const { firstMoment, secondMoment } of this.#slots.values()) {
      disposeMoment(firstMoment);
      disposeMoment(secondMoment);
    }
    this.#slots.clear();
  }
}
