/** A tiny model, some drawn shapes with a better and a worse answer, and DPO's method on them. */
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import {
  embeddedShapes,
  shapesPreferenceRows,
} from "../../../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { RandomStream } from "../../../src/random.ts";
import { pairBatch } from "../../../src/train/dpo/examples.ts";
import type { DPOMethod } from "../../../src/train/dpo/method.ts";
import {
  type DPOReference,
  type ReferenceTable,
  TableReference,
} from "../../../src/train/dpo/reference.ts";
import { dpoExampleMaker, dpoGroups, dpoMethod } from "../../../src/train/dpo/setup.ts";
import { examplesInOrder } from "../../../src/train/batches/made_ahead.ts";
import type { ParameterGroup } from "../../../src/train/optimizer/optimizer.ts";
import { type PreparedModel, prepareModel } from "../../../src/train/run/prepare_model.ts";
import { type SteppedRun, steppedRun } from "../stepped_run.ts";

export { largestDifference } from "../stepped_run.ts";

/** A fresh model of one small block each. */
export function tinyModel(): ResolvedConfig["model"] {
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text);
  return { ...model, vlm_config: { ...model.vlm_config, vit_n_blocks: 1, lm_n_blocks: 1 } };
}

/** A config of DPO on a fresh model. */
export function tinyConfig(overrides: readonly string[] = []): ResolvedConfig {
  const config = parseConfig(EMBEDDED_CONFIGS.dpo.text, {
    trainingType: "dpo",
    overrides: [
      "training.per_device_train_batch_size=2",
      "training.gradient_accumulation_steps=3",
      "training.per_device_eval_batch_size=4",
      "training.learning_rate=1e-2",
      ...overrides,
    ],
  });
  const { use_lora, lora_config } = config.model;
  return { ...config, model: { ...tinyModel(), use_lora, lora_config } };
}

/** LoRA on the decoder, as overrides of a config. */
export const LORA = [
  "model.use_lora=true",
  "model.lora_config.r=4",
  "model.lora_config.target_modules=[q_proj, v_proj, down_proj]",
];

/** Pairs about drawn shapes; the answers differ in length. */
export function shapeRows(pictures = 4): Row[] {
  const rows = shapesPreferenceRows(embeddedShapes({ trainPictures: pictures }).train);
  return rows.map((row, i) => ({
    ...row,
    chosen: i % 3 === 0 ? `it is ${row.chosen}` : row.chosen,
    rejected: i % 4 === 0 ? `${row.rejected}, I think` : row.rejected,
  }));
}

/** A reference that differs from the policy: made-up log-probabilities for 40 rows. */
export function madeUpReference(): DPOReference {
  const random = new RandomStream(7, "reference");
  const table: ReferenceTable = new Map(
    Array.from({ length: 80 }, (_, i) => {
      const entry = [-4 - 8 * random.nextFloat(), -4 - 8 * random.nextFloat()] as const;
      return [i - 40, entry];
    }),
  );
  return new TableReference(table, "made up");
}

/** A run that is stepped by hand. */
export type TinyRun = SteppedRun<DPOMethod>;

/** How a run differs from the usual. */
export interface TinyOptions {
  readonly rows?: Row[];
  /** Default: wasm. */
  readonly backend?: "wasm" | "webgpu";
  /** Made by the run's own model and groups; default: {@linkcode madeUpReference}. */
  readonly reference?: (
    prepared: PreparedModel,
    groups: readonly ParameterGroup[],
  ) => DPOReference | null;
}

/** The mean of the last step's micro-batches' means of −log p over chosen tokens, pair by pair. */
export async function meanOfMicroBatches({ method, prepared }: TinyRun): Promise<number> {
  const { model } = prepared;
  const pairs = new Map<number, Awaited<ReturnType<typeof method.parts.maker.make>>>();
  for await (const placed of examplesInOrder(method.parts.dataset, false)) {
    pairs.set(placed.row!, await method.parts.maker.make(placed));
  }
  const batches = method.describeLastBatch() as { row: number }[][];
  let mean = 0;
  for (const batch of batches) {
    let sum = 0, tokens = 0;
    for (const { row } of batch) {
      const pair = pairs.get(row)!;
      const one = pairBatch([pair], true, model);
      const values = model.labelLogProbs(one)!.dataSync<"float32">();
      for (let i = 0; i < pair.chosenLength; i++) sum -= values[i];
      tokens += pair.chosenLength;
    }
    mean += sum / tokens / batches.length;
  }
  return mean;
}

/** Makes a run. */
export async function tinyRun(config: ResolvedConfig, options: TinyOptions = {}): Promise<TinyRun> {
  await initBackend({ backend: options.backend ?? "wasm" });
  const prepared = await prepareModel(config.model, config.training.seed, config.training);
  const rows = options.rows ?? shapeRows();
  const dataset = await datasetFromRows(rows, { format: "preference", name: "shapes" });
  const groups = dpoGroups(prepared, config);
  const reference = options.reference ? options.reference(prepared, groups) : madeUpReference();
  const method = dpoMethod(config, {
    prepared,
    maker: dpoExampleMaker(prepared, config),
    train: dataset,
    evaluation: dataset,
    reference,
  });
  return steppedRun({ prepared, method, groups, dispose: () => reference?.dispose() });
}
