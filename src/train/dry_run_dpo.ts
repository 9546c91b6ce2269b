/**
 * `train dpo --dry-run`: resolves model and data, estimates memory, and runs the longest pairs
 * forward and back once. Nothing trains and nothing is written to the output folder.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ModelSection, ResolvedConfig } from "../config/config_types.ts";
import { EMBEDDED_CONFIGS } from "../config/embedded.ts";
import { parseConfig } from "../config/load_config.ts";
import { RowSkipped } from "../data/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import type { PreferenceExample } from "../data/formats.ts";
import { datasetFromRows } from "../data/load_dataset.ts";
import { initBackend } from "../device/backend.ts";
import { peakGpuBytes } from "../device/memory.ts";
import { BUILTIN_SHAPES } from "../data/embedded_dataset.ts";
import { type DPODataset, DPOMethod } from "./dpo_method.ts";
import { AdapterFreeReference } from "./dpo_reference.ts";
import { dpoExampleMaker, dpoGroups, dpoMethodOptions, onlyAdaptersTrain } from "./dpo_setup.ts";
import type { DryRunOptions, DryRunReport } from "./dry_run.ts";
import { GradientAccumulator } from "./gradients.ts";
import { exampleSize } from "./longest_examples.ts";
import { activationBytes, estimateStepMemory } from "./memory_estimate.ts";
import { Optimizer } from "./optimizer.ts";
import { peakTensorBytes } from "./peak_tensor_bytes.ts";
import { prepareData } from "./prepare_data.ts";
import { type PreparedModel, prepareModel } from "./prepare_model.ts";
import { modelBytes, sizeOf, stepMemoryOptions } from "./step_memory_options.ts";
import { sftExampleMaker } from "./sft_setup.ts";
import { precisionNote } from "./training_precision.ts";

/** Most pairs that are looked at. */
const MOST_PAIRS = 5000;

/** The model to measure: the starter's dims, fresh, stand for the starter. */
function measuredModel(section: ModelSection): ModelSection {
  if (section.model_name_or_path !== BUILTIN_SHAPES) return section;
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text, { trainingType: "sft" });
  return { ...model, use_lora: section.use_lora, lora_config: section.lora_config };
}

/** The pairs that take the most memory, the longest first, found without decoding a picture. */
async function longestPairs(
  dataset: DPODataset,
  prepared: PreparedModel,
  config: ResolvedConfig,
  weight: (size: { tokens: number; tiles: number }) => number,
): Promise<{ dataset: Dataset<PreferenceExample>; looked: number }> {
  const { training } = config;
  // Both answers lie behind one prompt, so that the sum of all three counts.
  const maker = sftExampleMaker(prepared, { ...training, max_seq_length: Infinity });
  let longest: { example: PreferenceExample; bytes: number }[] = [];
  let looked = 0;
  for await (const example of dataset) {
    if (looked++ === MOST_PAIRS) break;
    const { images, prompt, chosen, rejected, columns } = example;
    const user = prompt.map(({ content }) => content).join("\n");
    const turns = [{ user, assistant: `${chosen} ${rejected}` }];
    try {
      const size = exampleSize({ images, turns, columns }, maker, prepared.imageProcessor);
      longest.push({ example, bytes: weight(size) });
    } catch (error) {
      const passed = error instanceof RowSkipped ||
        (error instanceof Error && error.name === "ImageGridError");
      if (!passed) throw error;
      continue;
    }
    longest.sort((a, b) => b.bytes - a.bytes);
    longest = longest.slice(0, training.per_device_train_batch_size);
  }
  const rows = longest.map(({ example: { images, prompt, chosen, rejected } }) => ({
    images: images.map(({ bytes, name }) => ({ bytes, path: name })),
    prompt: prompt.map(({ role, content }) => ({ role, content })),
    chosen,
    rejected,
  }));
  const options = { format: "preference", name: dataset.name, maxImagesPerExample: 1e9 } as const;
  return { dataset: await datasetFromRows(rows, options), looked: Math.min(looked, MOST_PAIRS) };
}

/**
 * Resolves a config of DPO and runs its longest batch once. The reference's forward pass is part of
 * it where it runs beside the policy's; where its numbers come from a table they stand at 0.
 *
 * @throws {Error} where the model or the data cannot be had, or the loss is not finite
 */
export async function dryRunDPO(
  config: ResolvedConfig,
  { backend: choice, onProgress = () => {} }: DryRunOptions,
): Promise<DryRunReport> {
  const { training } = config;
  const backend = await initBackend({ backend: choice });
  onProgress(`backend ${backend.reason}`);
  const prepared = await prepareModel(measuredModel(config.model), training.seed, training);
  const { model } = prepared;
  onProgress(`model ${prepared.origin}`);
  if (prepared.packedNote) onProgress(prepared.packedNote);
  const precision = precisionNote(prepared.model.precision, backend.name);
  if (precision !== null) onProgress(precision);
  const accumulator = new GradientAccumulator();
  let optimizer: Optimizer | null = null;
  try {
    const groups = dpoGroups(prepared, config);
    if (groups.length === 0) {
      throw new Error(
        "Cannot train: every learning rate is 0; set learning_rate, lr_mp, lr_vision_backbone, " +
          "lr_language_backbone or lr_lora above 0",
      );
    }
    const data = await prepareData(config, "preference");
    onProgress(`data ${config.dataset.train_data_path}: ${data.train.length ?? "unknown"} pairs`);
    const parameters = new Map(groups.flatMap((group) => [...group.parameters]));
    const settings = stepMemoryOptions(model, parameters, training, backend);
    const longest = await longestPairs(
      data.train,
      prepared,
      config,
      ({ tokens, tiles }) => activationBytes(model.config, { rows: 1, tokens, tiles }, settings),
    );
    const beside = !config.dpo.reference_free && onlyAdaptersTrain(model, groups);
    const options = dpoMethodOptions(config, prepared.tokenizer.padTokenId);
    const method = new DPOMethod(
      model,
      dpoExampleMaker(prepared, config),
      longest.dataset,
      null,
      beside ? new AdapterFreeReference(model) : null,
      {
        ...options,
        gradientAccumulationSteps: 1,
        dropLast: false,
        loss: { ...options.loss, referenceFree: !beside },
      },
    );
    // Measures the gradients; it never steps.
    optimizer = new Optimizer(groups, {
      beta1: training.adam_beta1,
      beta2: training.adam_beta2,
      eps: training.adam_epsilon,
      maxGradNorm: training.max_grad_norm,
    });
    const measure = optimizer;
    const started = performance.now();
    const { result, peakBytes } = await peakTensorBytes(async () => {
      const outcome = await method.step({ accumulator, parameters, step: 0 });
      const measured = await measure.measure(accumulator.gradients, outcome.losses);
      tf.dispose(outcome.losses);
      return measured;
    });
    const seconds = (performance.now() - started) / 1000;
    const batch = method.lastBatchSize!;
    onProgress(`longest batch: ${batch.rows} rows of ${batch.tokens} tokens, ${batch.tiles} tiles`);
    return {
      backend: backend.reason,
      model: prepared.origin,
      parameters: settings.parameters,
      trained: settings.trained,
      examples: { train: data.train.length, evaluation: data.evaluation?.length ?? null },
      skipped: data.train.skipped.rows.length + longest.dataset.skipped.rows.length,
      looked: longest.looked,
      batch,
      estimate: estimateStepMemory(model.config, batch, settings),
      measured: {
        weights: modelBytes(model),
        gradients: 4 * sizeOf(accumulator.gradients.values()),
        pass: peakBytes,
        gpu: peakGpuBytes(),
        process: Deno.memoryUsage().rss,
      },
      loss: result.losses.reduce((sum, loss) => sum + loss, 0),
      gradNorm: result.gradNorm,
      seconds,
      warnings: prepared.warnings,
    };
  } finally {
    accumulator.reset();
    optimizer?.dispose();
    model.dispose();
  }
}
