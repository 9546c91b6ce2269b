/**
 * A trainer of a prepared model: what runs of the command line and of the library share.
 *
 * @module
 */
import type { ParameterGroup } from "./optimizer/optimizer.ts";
import { type PreparedModel, writePreparedModel } from "./run/prepare_model.ts";
import { Trainer } from "./loop/trainer.ts";
import type { TrainerOptions } from "./loop/trainer_options.ts";
import type { TrainingMethod } from "./loop/training_method.ts";

/** Names of the model's own weights that train; adapters have files of their own. */
export function trainedWeightNames(
  { model }: PreparedModel,
  groups: readonly ParameterGroup[],
): string[] {
  return groups.flatMap(({ parameters }) => [...parameters.keys()])
    .filter((name) => model.weights.has(name));
}

/** The trainer, which saves what trains and names bad weights, frozen ones included. */
export function preparedTrainer(
  prepared: PreparedModel,
  method: TrainingMethod,
  options: Omit<TrainerOptions, "weights" | "saveModel">,
): Trainer {
  const names = trainedWeightNames(prepared, options.groups);
  return new Trainer(method, {
    ...options,
    weights: prepared.model.weights,
    saveModel: (folder) => writePreparedModel(prepared, names, folder),
  });
}
