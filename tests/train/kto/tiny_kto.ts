/** A tiny model, some drawn shapes with good and bad answers, and KTO's method on them. */
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { initBackend } from "../../../src/device/backend.ts";
import type { KTOMethod } from "../../../src/train/kto/method.ts";
import { ktoMethod } from "../../../src/train/kto/setup.ts";
import { configuredGroups } from "../../../src/train/optimizer/parameter_groups.ts";
import { prepareModel } from "../../../src/train/run/prepare_model.ts";
import { shapeRows, tinyConfig as tinyDPOConfig } from "../dpo/tiny_dpo.ts";
import { type SteppedRun, steppedRun } from "../stepped_run.ts";

/** A config of KTO on a fresh model. */
export function tinyConfig(overrides: readonly string[] = []): ResolvedConfig {
  return tinyDPOConfig(["dpo.loss_type=kto", ...overrides]);
}

/** A run that is stepped by hand. */
export type TinyKTO = SteppedRun<KTOMethod>;

/** Makes a run; held-out data are the training rows. */
export async function tinyKTO(config: ResolvedConfig): Promise<TinyKTO> {
  await initBackend({ backend: "wasm" });
  const prepared = await prepareModel(config.model, config.training.seed, config.training);
  const dataset = await datasetFromRows(shapeRows(), { format: "unpaired", name: "shapes" });
  const groups = configuredGroups(prepared.model, config.training);
  const inputs = { prepared, train: dataset, evaluation: dataset, groups };
  return steppedRun({ prepared, groups, ...ktoMethod(config, inputs) });
}
