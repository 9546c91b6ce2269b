/**
 * `train --dry-run`: resolves model and data, estimates memory, and runs one forward and backward
 * pass of the longest batch. Nothing trains and nothing is written to the output folder.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ModelSection, ResolvedConfig } from "../../config/types/config_types.ts";
import { EMBEDDED_CONFIGS } from "../../config/embedded/embedded_configs.ts";
import { parseConfig } from "../../config/load_config.ts";
import { EMBEDDED_DATA } from "../../data/embedded/embedded_dataset.ts";
import { picturesText } from "../../data/data_notes.ts";
import type { DatasetFormat } from "../../data/rows/formats.ts";
import type { TrainEvalDatasets } from "../../data/splits/train_eval.ts";
import { type ActiveBackend, type BackendChoice, initBackend } from "../../device/backend.ts";
import { readBack } from "../../device/read_back.ts";
import { peakGpuBytes } from "../../device/memory.ts";
import type { DryRunReport } from "./report.ts";
import { GradientAccumulator } from "../loop/gradients.ts";
import type { ExampleSize } from "./example_size.ts";
import {
  activationBytes,
  type EstimateInputs,
  estimateStepMemory,
  type MethodMemory,
} from "./memory_estimate.ts";
import { Optimizer, type ParameterGroup } from "../optimizer/optimizer.ts";
import { optimizerOptions, requireTrained } from "../optimizer/parameter_groups.ts";
import { optimizerBytes } from "./optimizer_bytes.ts";
import { plannedRun } from "./planned_run.ts";
import { peakTensorBytes } from "./peak_tensor_bytes.ts";
import { prepareData } from "../batches/prepare_data.ts";
import { type PreparedModel, prepareModel } from "../run/prepare_model.ts";
import { modelBytes, sizeOf, stepMemoryOptions } from "./step_memory_options.ts";
import type { BatchSize, TrainingMethod } from "../loop/training_method.ts";
import { precisionNote } from "../loop/training_precision.ts";

/** How a dry run is started. */
export interface DryRunOptions {
  readonly backend: BackendChoice;
  /** Gets a line as each part is resolved. */
  readonly onProgress?: (text: string) => void;
}

/** What is ready when the longest batch is searched for. */
export interface DryRunContext<F extends DatasetFormat> {
  readonly config: ResolvedConfig;
  readonly backend: ActiveBackend;
  readonly prepared: PreparedModel;
  readonly groups: readonly ParameterGroup[];
  readonly data: TrainEvalDatasets<F>;
  /** Bytes of activations that an example of a size takes. */
  readonly weight: (size: ExampleSize) => number;
  readonly say: (text: string) => void;
}

/** The batch that is run, in a method whose next step takes it. */
export interface LongestBatch {
  readonly method: TrainingMethod;
  /** Its size; null: as the method tells when it has run. */
  readonly size: BatchSize | null;
  /** Examples among which the longest were looked for. */
  readonly looked: number;
  /** Those of them that could not be used, if the data set does not count them. */
  readonly skipped: number;
  readonly warnings: readonly string[];
  /** What the method holds beside a step's memory. */
  readonly memory?: MethodMemory;
  readonly dispose?: () => void | Promise<void>;
}

/** What the dry runs of SFT, DPO and GRPO differ in. */
export interface DryRunTrainer<F extends DatasetFormat> {
  readonly format: F;
  /** What its examples are called. */
  readonly examples: string;
  readonly groups: (prepared: PreparedModel, config: ResolvedConfig) => ParameterGroup[];
  readonly longest: (context: DryRunContext<F>) => Promise<LongestBatch>;
}

/** A first pass that takes longer is measured well enough. */
const WARM_SECONDS = 20;

/** How long forward and backward of the batch take when everything is warm, in seconds. */
async function secondsOfPass(
  method: TrainingMethod,
  accumulator: GradientAccumulator,
  parameters: ReadonlyMap<string, tf.Variable>,
): Promise<number> {
  accumulator.reset();
  const started = performance.now();
  const outcome = await method.step({ accumulator, parameters, step: 1 });
  await readBack([...outcome.losses]);
  tf.dispose(outcome.losses);
  return (performance.now() - started) / 1000;
}

/** The model to measure: a fresh model of the starter's dims in place of the starter. */
function measuredModel(section: ModelSection): ModelSection {
  if (!EMBEDDED_DATA.includes(section.model_name_or_path)) return section;
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text, { trainingType: "sft" });
  return { ...model, use_lora: section.use_lora, lora_config: section.lora_config };
}

/**
 * Resolves a config and runs its longest batch once.
 *
 * @throws {Error} if model, data or rewards cannot be had, or the loss is not finite
 */
export async function dryRun<F extends DatasetFormat>(
  config: ResolvedConfig,
  { backend: choice, onProgress: say = () => {} }: DryRunOptions,
  trainer: DryRunTrainer<F>,
): Promise<DryRunReport> {
  const { training, dataset } = config;
  const backend = await initBackend({ backend: choice });
  say(`backend ${backend.reason}`);
  const prepared = await prepareModel(measuredModel(config.model), training.seed, training);
  const { model } = prepared;
  say(`model ${prepared.origin}`);
  if (prepared.packedNote) say(prepared.packedNote);
  const precision = precisionNote(model.precision, backend);
  if (precision !== null) say(precision);
  const accumulator = new GradientAccumulator();
  let optimizer: Optimizer | null = null;
  let longest: LongestBatch | null = null;
  try {
    const groups = trainer.groups(prepared, config);
    requireTrained(groups);
    const data = await prepareData(config, trainer.format);
    const count = data.train.length ?? "unknown";
    say(
      `data ${dataset.train_data_path}: ${count} ${trainer.examples}` +
        (data.train.selection === null ? "" : `, ${data.train.selection}`) +
        `; with pictures: ${picturesText(data.train)}`,
    );
    const parameters = new Map(groups.flatMap((group) => [...group.parameters]));
    const settings = {
      ...stepMemoryOptions(model, parameters, training, backend),
      ...optimizerBytes(parameters, optimizerOptions(training), backend.name),
    };
    const weight = ({ tokens, tiles }: ExampleSize) =>
      activationBytes(model.config, { rows: 1, tokens, tiles }, settings);
    longest = await trainer.longest({ config, backend, prepared, groups, data, weight, say });
    const { method } = longest;
    const tell = ({ rows, tokens, tiles }: BatchSize) =>
      say(`longest batch: ${rows} rows with ${tokens} tokens, ${tiles} tiles`);
    if (longest.size !== null) tell(longest.size);
    // Measures the gradients; it never steps.
    const measuring = optimizer = new Optimizer(groups, optimizerOptions(training));
    const started = performance.now();
    const { result, peakBytes } = await peakTensorBytes(async () => {
      const outcome = await method.step({ accumulator, parameters, step: 0 });
      const measured = await measuring.measure(accumulator.gradients, outcome.losses);
      tf.dispose(outcome.losses);
      return measured;
    });
    const firstSeconds = (performance.now() - started) / 1000;
    const batch = longest.size ?? method.lastBatchSize!;
    const gradientBytes = 4 * sizeOf(accumulator.gradients.values());
    const measured = {
      weights: modelBytes(model),
      gradients: gradientBytes,
      pass: peakBytes,
      gpu: peakGpuBytes(),
      process: Deno.memoryUsage().rss,
    };
    // The first pass of a process also compiles kernels and starts threads.
    const seconds = firstSeconds > WARM_SECONDS
      ? firstSeconds
      : await secondsOfPass(method, accumulator, parameters);
    if (longest.size === null) tell(batch);
    const estimatedFrom: EstimateInputs = [model.config, batch, settings, longest.memory];
    return {
      plan: plannedRun(config, data.train.length),
      backend: backend.reason,
      model: prepared.origin,
      parameters: settings.parameters,
      trained: settings.trained,
      examples: { train: data.train.length, evaluation: data.evaluation?.length ?? null },
      pictures: picturesText(data.train),
      skipped: data.train.skipped.rows.length + longest.skipped,
      skippedReasons: data.train.skipped.summary(),
      looked: longest.looked,
      batch,
      estimate: estimateStepMemory(...estimatedFrom),
      estimatedFrom,
      measured,
      loss: result.losses.reduce((sum, loss) => sum + loss, 0),
      gradNorm: result.gradNorm,
      seconds,
      warnings: [...prepared.warnings, ...data.warnings, ...longest.warnings],
    };
  } finally {
    accumulator.reset();
    optimizer?.dispose();
    await longest?.dispose?.();
    model.dispose();
  }
}
