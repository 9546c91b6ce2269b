/** A tiny student, a larger teacher with other weights, some drawn shapes, and GKD's method on them. */
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import { embeddedShapes, shapesVqaRows } from "../../../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { type BackendChoice, initBackend } from "../../../src/device/backend.ts";
import type { GKDMethod } from "../../../src/train/gkd/method.ts";
import { gkdGroups, gkdMethod } from "../../../src/train/gkd/setup.ts";
import { Teacher } from "../../../src/train/gkd/teacher.ts";
import { prepareModel } from "../../../src/train/run/prepare_model.ts";
import { type SteppedRun, steppedRun } from "../stepped_run.ts";

/** A config of GKD on a fresh student. */
export function tinyConfig(overrides: readonly string[] = []): ResolvedConfig {
  return parseConfig(EMBEDDED_CONFIGS.gkd.text, {
    trainingType: "gkd",
    overrides: [
      "training.per_device_train_batch_size=2",
      "training.gradient_accumulation_steps=3",
      "training.per_device_eval_batch_size=4",
      "training.learning_rate=1e-2",
      "training.lr_mp=1e-2",
      "gkd.max_new_tokens=6",
      "gkd.lmbda=0.5",
      "gkd.beta=0.1",
      ...["vit", "lm"].flatMap((part) => [
        `model.vlm_config.${part}_hidden_dim=48`,
        `model.vlm_config.${part}_inter_dim=96`,
        `model.vlm_config.${part}_n_blocks=1`,
      ]),
      ...overrides,
    ],
  });
}

/** Questions about drawn shapes; answers differ in length. */
export function shapeRows(pictures = 4): Row[] {
  return shapesVqaRows(embeddedShapes({ trainPictures: pictures }).train);
}

/** A run that is stepped by hand. */
export interface TinyGKD extends SteppedRun<GKDMethod> {
  readonly teacher: Teacher;
}

/** Makes a run; held-out data are the training rows. */
export async function tinyGKD(
  config: ResolvedConfig,
  { backend = "wasm", rows = shapeRows() }: {
    readonly backend?: BackendChoice;
    readonly rows?: Row[];
  } = {},
): Promise<TinyGKD> {
  await initBackend({ backend });
  const prepared = await prepareModel(config.model, config.training.seed, config.training);
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text);
  const teacher = new Teacher(await prepareModel(model, 7), "a fresh teacher", true);
  teacher.loaded.model.precision = prepared.model.precision;
  const data = await datasetFromRows(rows, { format: "vqa", name: "shapes", splitTurns: true });
  const groups = gkdGroups(prepared, config);
  const method = gkdMethod(config, { prepared, teacher, train: data, evaluation: data });
  const dispose = () => teacher[Symbol.dispose]();
  return { ...steppedRun({ prepared, method, groups, dispose }), teacher };
}
