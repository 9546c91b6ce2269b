/** A tiny model, some drawn shapes with good and bad answers, and KTO's method on them. */
import * as tf from "@tensorflow/tfjs";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import type { KTOMethod } from "../../../src/train/kto/method.ts";
import { ktoMethod } from "../../../src/train/kto/setup.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import type { StepOutcome } from "../../../src/train/loop/training_method.ts";
import { Optimizer } from "../../../src/train/optimizer/optimizer.ts";
import { configuredGroups } from "../../../src/train/optimizer/parameter_groups.ts";
import { type PreparedModel, prepareModel } from "../../../src/train/run/prepare_model.ts";
import { shapeRows, tinyConfig as tinyDPOConfig } from "../dpo/tiny_dpo.ts";

/** A config of KTO on a fresh model. */
export function tinyConfig(overrides: readonly string[] = []): ResolvedConfig {
  return tinyDPOConfig(["dpo.loss_type=kto", ...overrides]);
}

/** A run that is stepped by hand. */
export interface TinyKTO extends Disposable {
  readonly prepared: PreparedModel;
  readonly method: KTOMethod;
  readonly optimizer: Optimizer;
  /** The loss and gradients of the next step; nothing is updated. */
  gradients(): Promise<{
    loss: number;
    gradients: Map<string, Float32Array>;
    outcome: StepOutcome;
  }>;
  /** A step with an update. */
  update(): Promise<{ loss: number; outcome: StepOutcome }>;
  weights(): Promise<Map<string, Float32Array>>;
}

/** Makes a run; held-out data are the training rows. */
export async function tinyKTO(config: ResolvedConfig): Promise<TinyKTO> {
  await initBackend({ backend: "wasm" });
  const prepared = await prepareModel(config.model, config.training.seed, config.training);
  const dataset = await datasetFromRows(shapeRows(), { format: "unpaired", name: "shapes" });
  const groups = configuredGroups(prepared.model, config.training);
  const { method, dispose } = ktoMethod(config, {
    prepared,
    train: dataset,
    evaluation: dataset,
    groups,
  });
  const optimizer = new Optimizer(groups, { beta1: 0.9, beta2: 0.999, eps: 1e-8, maxGradNorm: 1 });
  const read = async (tensors: ReadonlyMap<string, tf.Tensor>) => {
    const values = await readBack([...tensors.values()]);
    return new Map([...tensors.keys()].map((name, i) => [name, values[i].slice() as Float32Array]));
  };
  const run = async (update: boolean) => {
    const accumulator = new GradientAccumulator();
    const { parameters } = optimizer;
    const outcome = await method.step({ accumulator, parameters, step: 0 });
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
    optimizer,
    gradients: () => run(false),
    update: () => run(true),
    weights: () => read(optimizer.parameters),
    [Symbol.dispose]() {
      dispose();
      optimizer.dispose();
      prepared.model.dispose();
    },
  };
}
