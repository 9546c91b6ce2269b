/**
 * What each part of configs/easy_vqa.yaml gives: the recipe cut to a number of steps, then the same
 * with one part changed, and the exact match of the questions about held-out pictures.
 *
 *     deno run -A bench/easy_vqa_parts.ts FOLDER [STEPS] > docs/runs/easy_vqa_parts.log
 *
 * FOLDER has the parquet files of easy-VQA.
 *
 * @module
 */
import { deviceFacts, loadAverage } from "../src/bench/device_facts.ts";
import { parseConfig } from "../src/config/load_config.ts";
import { Dataset } from "../src/data/dataset.ts";
import { initBackend } from "../src/device/backend.ts";
import { evaluateVqa } from "../src/evaluate/evaluate_vqa.ts";
import { loadModel } from "../src/generate/load_model.ts";
import { prepareData } from "../src/train/batches/prepare_data.ts";
import { runSFT } from "../src/train/sft/run.ts";

const FILE = "configs/easy_vqa.yaml";
const NO_AUGMENTATION = ["crop", "flip", "rotate", "colour"];

const VARIANTS: readonly (readonly [name: string, overrides: readonly string[]])[] = [
  ["the recipe", []],
  ["augmentation: none", NO_AUGMENTATION.map((key) => `dataset.augmentation.${key}=0`)],
  ["schedule: constant after the warm-up", [
    "training.lr_scheduler_type=constant_with_warmup",
  ]],
  ["size: patches of 8 pixels", [
    "model.vlm_config.vit_patch_size=8",
    "model.vlm_config.mp_pixel_shuffle_factor=2",
  ]],
  ["size: half the width", [
    "model.vlm_config.vit_hidden_dim=32",
    "model.vlm_config.vit_inter_dim=128",
    "model.vlm_config.lm_hidden_dim=32",
    "model.vlm_config.lm_inter_dim=96",
  ]],
  ["optimizer: AdamW", ["training.optim=adamw_torch"]],
];

/** Trains one variant in a folder of its own; the share of held-out questions that it answers. */
async function heldOut(overrides: readonly string[], output: string): Promise<number> {
  const config = parseConfig(await Deno.readTextFile(FILE), {
    file: FILE,
    trainingType: "sft",
    overrides: [
      `training.output_dir=${output}`,
      `save.save_model_path=${output}/final`,
      "training.eval_steps=1000000",
      "training.save_strategy=no",
      "logging.report_to=[]",
      ...overrides,
    ],
  });
  await runSFT(config, { backend: "wasm" });
  const { evaluation } = await prepareData(config, "vqa");
  if (!(evaluation instanceof Dataset)) {
    throw new Error(`Cannot measure: ${FILE} keeps no pictures apart`);
  }
  const loaded = await loadModel(`${output}/final`);
  const { exactMatch } = await evaluateVqa(loaded, evaluation, {
    batchSize: 500,
    maxNewTokens: 6,
  });
  loaded.model.dispose();
  return exactMatch;
}

if (import.meta.main) {
  const [folder, steps = "500"] = Deno.args;
  if (folder === undefined) {
    throw new Error("Cannot start: name the folder with easy-VQA's parquet files");
  }
  const { name, reason } = await initBackend({ backend: "wasm" });
  console.log(
    `easy-VQA, ${steps} steps each: the exact match of questions about held-out pictures`,
  );
  console.log(`backend ${name}: ${reason}`);
  const { cpu, threads } = deviceFacts();
  console.log(`machine ${cpu}, ${threads} threads; load ${loadAverage()}\n`);
  const output = await Deno.makeTempDir();
  try {
    for (const [part, overrides] of VARIANTS) {
      const started = performance.now();
      const share = await heldOut([
        `dataset.train_data_path=${folder}`,
        `training.max_steps=${steps}`,
        ...overrides,
      ], `${output}/run`);
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      console.log(`${part.padEnd(38)} ${(100 * share).toFixed(1).padStart(5)} %  ${seconds} s`);
      await Deno.remove(`${output}/run`, { recursive: true });
    }
  } finally {
    await Deno.remove(output, { recursive: true });
  }
}
