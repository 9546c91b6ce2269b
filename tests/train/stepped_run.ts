/** A training method on a tiny model, stepped by hand: what the tiny runs of each method share. */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../src/device/read_back.ts";
import { GradientAccumulator } from "../../src/train/loop/gradients.ts";
import type { StepOutcome, TrainingMethod } from "../../src/train/loop/training_method.ts";
import { Optimizer, type ParameterGroup } from "../../src/train/optimizer/optimizer.ts";
import type { PreparedModel } from "../../src/train/run/prepare_model.ts";

export { largestDifference } from "./largest_difference.ts";

/** Loss and gradients of a step. */
export interface SteppedGradients {
  readonly loss: number;
  readonly gradients: Map<string, Float32Array>;
  readonly outcome: StepOutcome;
}

/** A run that is stepped by hand. */
export interface SteppedRun<M extends TrainingMethod> extends Disposable {
  readonly prepared: PreparedModel;
  readonly method: M;
  readonly groups: readonly ParameterGroup[];
  readonly optimizer: Optimizer;
  /**
   * The loss and gradients of the next step; nothing is updated.
   *
   * @param step what the method is told; default 0
   */
  gradients(step?: number): Promise<SteppedGradients>;
  /** A step with an update. */
  update(step?: number): Promise<Pick<SteppedGradients, "loss" | "outcome">>;
  weights(): Promise<Map<string, Float32Array>>;
  /** Continues from where another run is, as from its checkpoint. */
  goOnFrom(other: SteppedRun<M>): Promise<void>;
}

/** What a run is made of. */
export interface SteppedParts<M extends TrainingMethod> {
  readonly prepared: PreparedModel;
  readonly method: M;
  readonly groups: readonly ParameterGroup[];
  /** Frees what the method holds. */
  readonly dispose?: () => void;
}

async function read(tensors: ReadonlyMap<string, tf.Tensor>): Promise<Map<string, Float32Array>> {
  const values = await readBack([...tensors.values()]);
  return new Map([...tensors.keys()].map((name, i) => [name, values[i].slice() as Float32Array]));
}

/** Steps a method. */
export function steppedRun<M extends TrainingMethod>(
  { prepared, method, groups, dispose }: SteppedParts<M>,
): SteppedRun<M> {
  const optimizer = new Optimizer(groups, { beta1: 0.9, beta2: 0.999, eps: 1e-8, maxGradNorm: 1 });
  const run = async (step: number, update: boolean): Promise<SteppedGradients> => {
    const accumulator = new GradientAccumulator();
    const { parameters } = optimizer;
    const outcome = await method.step({ accumulator, parameters, step });
    const gradients = await read(accumulator.gradients);
    const { gradNorm, losses } = await optimizer.measure(accumulator.gradients, outcome.losses);
    tf.dispose(outcome.losses);
    if (update) optimizer.step(accumulator.gradients, gradNorm, 1);
    accumulator.reset();
    return { loss: losses.reduce((sum, loss) => sum + loss, 0), gradients, outcome };
  };
  return {
    prepared,
    method,
    groups,
    optimizer,
    gradients: (step = 0) => run(step, false),
    update: (step = 0) => run(step, true),
    weights: () => read(optimizer.parameters),
    async goOnFrom(other) {
      const state = JSON.parse(JSON.stringify(other.method.state()));
      const weights = await other.weights();
      for (const [name, parameter] of optimizer.parameters) {
        tf.tidy(() => parameter.assign(tf.tensor(weights.get(name)!, parameter.shape)));
      }
      optimizer.restore(await other.optimizer.state());
      method.restore(state);
    },
    [Symbol.dispose]() {
      dispose?.();
      optimizer.dispose();
      prepared.model.dispose();
    },
  };
}
