/**
 * `train sft --dry-run`: resolves model and data, estimates memory, and runs the longest batch
 * forward and back once. Nothing trains and nothing is written to the output folder.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ResolvedConfig } from "../config/config_types.ts";
import { type BackendChoice, initBackend } from "../device/backend.ts";
import { peakGpuBytes } from "../device/memory.ts";
import { GradientAccumulator } from "./gradients.ts";
import { longestExamples } from "./longest_examples.ts";
import { activationBytes, estimateStepMemory, type StepMemory } from "./memory_estimate.ts";
import { Optimizer } from "./optimizer.ts";
import { peakTensorBytes } from "./peak_tensor_bytes.ts";
import { prepareData } from "./prepare_data.ts";
import { prepareModel } from "./prepare_model.ts";
import { modelBytes, sizeOf, stepMemoryOptions } from "./step_memory_options.ts";
import { sftExampleMaker, sftGroups, sftMethod } from "./sft_setup.ts";
import { precisionNote } from "./training_precision.ts";

/** What a dry run found. */
export interface DryRunReport {
  readonly backend: string;
  /** Where the weights came from. */
  readonly model: string;
  readonly parameters: number;
  readonly trained: number;
  /** Examples to train on and held out; null: not known, or none. */
  readonly examples: { readonly train: number | null; readonly evaluation: number | null };
  readonly skipped: number;
  /** Examples among which the longest were looked for. */
  readonly looked: number;
  /** The longest batch. */
  readonly batch: { readonly rows: number; readonly tokens: number; readonly tiles: number };
  readonly estimate: StepMemory;
  /** Bytes of live tensors; `pass`: the most during forward and backward, gradients included. */
  readonly measured: {
    readonly weights: number;
    readonly gradients: number;
    readonly pass: number;
    /** Of buffers in use on the GPU, at the peak, without moments; 0 where there is none. */
    readonly gpu: number;
    /** Of the whole process, as the system sees it. */
    readonly process: number;
  };
  readonly loss: number;
  readonly gradNorm: number;
  readonly seconds: number;
  readonly warnings: readonly string[];
}

/** How a dry run is started. */
export interface DryRunOptions {
  readonly backend: BackendChoice;
  /** Gets a line as each part is resolved. */
  readonly onProgress?: (text: string) => void;
}

/**
 * Resolves a config of SFT and runs its longest batch once.
 *
 * @throws {Error} where the model or the data cannot be had, or the loss is not finite
 */
export async function dryRunSFT(
  config: ResolvedConfig,
  options: DryRunOptions,
): Promise<DryRunReport> {
  const { training } = config;
  const say = options.onProgress ?? (() => {});
  const backend = await initBackend({ backend: options.backend });
  say(`backend ${backend.reason}`);
  const prepared = await prepareModel(config.model, training.seed, training);
  const { model } = prepared;
  say(`model ${prepared.origin}`);
  if (prepared.packedNote) say(prepared.packedNote);
  const precision = precisionNote(prepared.model.precision, backend.name);
  if (precision !== null) say(precision);
  try {
    const groups = sftGroups(prepared, training);
    if (groups.length === 0) {
      throw new Error(
        "Cannot train: every learning rate is 0; set lr_mp, lr_vision_backbone, " +
          "lr_language_backbone or lr_lora above 0",
      );
    }
    const data = await prepareData(config, "vqa");
    say(`data ${config.dataset.train_data_path}: ${data.train.length ?? "unknown"} examples`);
    const parameters = new Map(groups.flatMap((group) => [...group.parameters]));
    const settings = stepMemoryOptions(model, parameters, training, backend);
    const batchSize = training.per_device_train_batch_size;
    const longest = await longestExamples(
      data.train,
      sftExampleMaker(prepared, training),
      prepared.imageProcessor,
      batchSize,
      ({ tokens, tiles }) => activationBytes(model.config, { rows: 1, tokens, tiles }, settings),
    );
    const { sizes, looked } = longest;
    const batch = {
      rows: sizes.length,
      tokens: Math.max(...sizes.map(({ tokens }) => tokens)),
      tiles: sizes.reduce((sum, { tiles }) => sum + tiles, 0),
    };
    say(`longest batch: ${batch.rows} rows of ${batch.tokens} tokens, ${batch.tiles} tiles`);
    const method = sftMethod(
      prepared,
      {
        ...training,
        gradient_accumulation_steps: 1,
        dataloader_drop_last: false,
        dataloader_num_workers: 0,
      },
      longest.dataset,
      null,
    );
    const accumulator = new GradientAccumulator();
    // Measures the gradients; it never steps.
    const optimizer = new Optimizer(groups, {
      beta1: training.adam_beta1,
      beta2: training.adam_beta2,
      eps: training.adam_epsilon,
      maxGradNorm: training.max_grad_norm,
    });
    const started = performance.now();
    const { result, peakBytes } = await peakTensorBytes(async () => {
      const outcome = await method.step({ accumulator, parameters, step: 0 });
      const measured = await optimizer.measure(accumulator.gradients, outcome.losses);
      tf.dispose(outcome.losses);
      return measured;
    });
    const seconds = (performance.now() - started) / 1000;
    const gradients = 4 * sizeOf(accumulator.gradients.values());
    accumulator.reset();
    optimizer.dispose();
    return {
      backend: backend.reason,
      model: prepared.origin,
      parameters: settings.parameters,
      trained: settings.trained,
      examples: { train: data.train.length, evaluation: data.evaluation?.length ?? null },
      skipped: data.train.skipped.rows.length,
      looked,
      batch,
      estimate: estimateStepMemory(model.config, batch, settings),
      measured: {
        weights: modelBytes(model),
        gradients,
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
    model.dispose();
  }
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** The report as lines for the terminal. */
export function dryRunLines(report: DryRunReport): string[] {
  const { estimate, measured, batch, examples } = report;
  const { weights, gradients, moments, activations, logits, generation, entropies } = estimate;
  const row = (part: string, estimated: number, seen?: number) =>
    `  ${part.padEnd(36)} ${mebibytes(estimated).padStart(12)} ${
      (seen === undefined ? "" : mebibytes(seen)).padStart(12)
    }`;
  const optional = (part: string, estimated: number) => estimated > 0 ? [row(part, estimated)] : [];
  return [
    `model: ${report.model}, ${report.parameters} parameters, ${report.trained} of them train`,
    `data: ${examples.train ?? "unknown"} examples to train on, ${
      examples.evaluation ?? "none"
    } held out, ${report.skipped} skipped`,
    `longest batch of ${report.looked} examples: ${batch.rows} rows of ${batch.tokens} tokens, ` +
    `${batch.tiles} tiles; loss ${report.loss.toFixed(4)}, gradient norm ${
      report.gradNorm.toFixed(4)
    }, ${report.seconds.toFixed(1)} s`,
    `  ${"memory".padEnd(36)} ${"estimated".padStart(12)} ${"measured".padStart(12)}`,
    row("weights", weights, measured.weights),
    row("moments of AdamW", moments),
    row("gradients", gradients, measured.gradients),
    row("activations of the longest batch", activations),
    ...optional("logits of a chunk", logits),
    ...optional("keys and values while sampling", generation),
    ...optional("logits for entropies", entropies),
    row("forward and backward, at the peak", estimate.pass, measured.pass),
    ...optional("waiting for the GPU, textures", estimate.waiting),
    ...(estimate.gpu > 0
      ? [row("in all, on the GPU", estimate.gpu, measured.gpu > 0 ? measured.gpu + moments : 0)]
      : [
        row(
          "in all",
          weights + moments + estimate.pass,
          measured.weights + moments + measured.pass,
        ),
      ]),
    row("the whole process", estimate.process, measured.process),
    "nothing was trained and nothing written",
  ];
}
