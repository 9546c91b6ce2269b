/**
 * `train grpo --dry-run`: resolves model, data and rewards, estimates memory, calls every reward
 * once, and takes the longest prompts with completions of full length forward and back once. Nothing
 * is sampled or trained and nothing is written to the output folder.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ModelSection, ResolvedConfig } from "../config/config_types.ts";
import { EMBEDDED_CONFIGS } from "../config/embedded.ts";
import { parseConfig } from "../config/load_config.ts";
import { RowSkipped } from "../data/data_error.ts";
import { BUILTIN_SHAPES } from "../data/embedded_dataset.ts";
import type { GrpoExample } from "../data/formats.ts";
import { initBackend } from "../device/backend.ts";
import { peakGpuBytes } from "../device/memory.ts";
import { forbiddenTokenIds } from "../generate/generate_text.ts";
import { RandomStream } from "../random.ts";
import { ChatExampleBuilder } from "../text/chat_example.ts";
import type { DryRunOptions, DryRunReport } from "./dry_run.ts";
import { GradientAccumulator } from "./gradients.ts";
import { completionBatch } from "./grpo_policy.ts";
import { type GRPOPrompt, GRPOPromptMaker } from "./grpo_prompts.ts";
import type { GRPODataset } from "./grpo_prompt_stream.ts";
import type { Rollout, RolloutSequence } from "./grpo_rollout.ts";
import { CompletionScorer } from "./grpo_scoring.ts";
import { grpoGroups, grpoMethod } from "./grpo_setup.ts";
import { exampleSize } from "./longest_examples.ts";
import {
  activationBytes,
  entropyBytes,
  estimateStepMemory,
  generationBytes,
} from "./memory_estimate.ts";
import { Optimizer } from "./optimizer.ts";
import { peakTensorBytes } from "./peak_tensor_bytes.ts";
import { prepareData } from "./prepare_data.ts";
import { type PreparedModel, prepareModel } from "./prepare_model.ts";
import { modelBytes, sizeOf, stepMemoryOptions } from "./step_memory_options.ts";
import { sftExampleMaker } from "./sft_setup.ts";
import { TileCache } from "./tile_cache.ts";
import { precisionNote } from "./training_precision.ts";

/** Most prompts that are looked at. */
const MOST_PROMPTS = 5000;

/** The model to measure: the starter's dims, fresh, stand for the starter. */
function measuredModel(section: ModelSection): ModelSection {
  if (section.model_name_or_path !== BUILTIN_SHAPES) return section;
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text, { trainingType: "sft" });
  return { ...model, use_lora: section.use_lora, lora_config: section.lora_config };
}

/** The prompts that take the most memory, found without decoding a picture. */
async function longestPrompts(
  dataset: GRPODataset,
  prepared: PreparedModel,
  { training, grpo }: ResolvedConfig,
  weight: (size: { tokens: number; tiles: number }) => number,
): Promise<{ prompts: GRPOPrompt[]; looked: number; skipped: number }> {
  const { model, tokenizer, imageProcessor } = prepared;
  const sizes = sftExampleMaker(prepared, { ...training, max_seq_length: grpo.max_prompt_length });
  const maker = new GRPOPromptMaker(
    new ChatExampleBuilder(tokenizer, { mpImageTokenLength: model.config.mp_image_token_length }),
    new TileCache(imageProcessor, { workers: 0 }),
    grpo.max_prompt_length,
    model.imageTokenId,
  );
  const candidates: { example: GrpoExample; bytes: number }[] = [];
  let looked = 0, skipped = 0;
  for await (const example of dataset) {
    if (looked++ === MOST_PROMPTS) break;
    const { images, prompt, columns } = example;
    const turns = [{ user: prompt.map(({ content }) => content).join("\n"), assistant: "" }];
    try {
      const size = exampleSize({ images, turns, columns }, sizes, imageProcessor);
      candidates.push({ example, bytes: weight(size) });
    } catch (error) {
      const passed = error instanceof RowSkipped ||
        (error instanceof Error && error.name === "ImageGridError");
      if (!passed) throw error;
      skipped++;
    }
  }
  candidates.sort((a, b) => b.bytes - a.bytes);
  const prompts: GRPOPrompt[] = [];
  for (const { example } of candidates) {
    if (prompts.length === training.per_device_train_batch_size) break;
    try {
      prompts.push(await maker.make({ example }, null, { epoch: 0, index: prompts.length }));
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      skipped++;
    }
  }
  if (prompts.length === 0) {
    throw new Error(`Cannot find the longest prompts: none of ${dataset.name} can be used`);
  }
  return { prompts, looked: Math.min(looked, MOST_PROMPTS), skipped };
}

/** Completions of full length, half of them better than the mean. */
function fullCompletions(prepared: PreparedModel, { grpo }: ResolvedConfig): RolloutSequence[] {
  const { model, tokenizer } = prepared;
  const { lm_vocab_size } = model.config;
  const never = new Set([...forbiddenTokenIds(tokenizer, lm_vocab_size), tokenizer.eosTokenId]);
  const random = new RandomStream(0, "dry run");
  return Array.from({ length: grpo.num_generations }, (_, g): RolloutSequence => {
    const tokens: number[] = [];
    while (tokens.length < grpo.max_completion_length) {
      const id = random.nextInt(lm_vocab_size);
      if (!never.has(id)) tokens.push(id);
    }
    return {
      tokens,
      truncated: false,
      advantage: g % 2 === 0 ? 1 : -1,
      logProbs: tokens.map(() => -1),
      refLogProbs: null,
    };
  });
}

/** Calls every reward once; what failed, a line each. */
async function tryRewards(
  scorer: CompletionScorer,
  prompts: readonly GRPOPrompt[],
  sequence: RolloutSequence,
  prepared: PreparedModel,
): Promise<string[]> {
  const { tokens, logProbs } = sequence;
  const text = prepared.tokenizer.decode(tokens, { skipSpecialTokens: true });
  const completion = {
    tokens: [...tokens],
    logProbs: [...logProbs],
    filteredLogProbs: [...logProbs],
    finishReason: "length" as const,
    text,
  };
  const { functions } = await scorer.score(prompts, prompts.map(() => completion), {});
  return functions.filter(({ error }) => error !== null)
    .map(({ name, error }) => `reward ${name} failed: ${error}`);
}

/**
 * Resolves a config of GRPO and runs its longest micro-batch once, the reference included.
 *
 * @throws {Error} where model, data or rewards cannot be had, or the loss is not finite
 */
export async function dryRunGRPO(
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
  let freeReference = () => {};
  try {
    const groups = grpoGroups(prepared, config);
    if (groups.length === 0) {
      throw new Error(
        "Cannot train: every learning rate is 0; set learning_rate, lr_mp, lr_vision_backbone, " +
          "lr_language_backbone or lr_lora above 0",
      );
    }
    const data = await prepareData(config, "grpo");
    onProgress(`data ${config.dataset.train_data_path}: ${data.train.length ?? "unknown"} prompts`);
    await using scorer = await CompletionScorer.start(config);
    onProgress(`rewards ${scorer.names.join(", ")}`);
    const parameters = new Map(groups.flatMap((group) => [...group.parameters]));
    const settings = stepMemoryOptions(model, parameters, training, backend);
    const { prompts, looked, skipped } = await longestPrompts(
      data.train,
      prepared,
      config,
      ({ tokens, tiles }) => activationBytes(model.config, { rows: 1, tokens, tiles }, settings),
    );
    const sequences = fullCompletions(prepared, config);
    const warnings = await tryRewards(scorer, prompts, sequences[0], prepared);
    const rollout: Rollout = {
      sampledAtStep: 0,
      groups: prompts.map((prompt) => ({ prompt, sequences })),
    };
    const whole = completionBatch(model, rollout.groups, {
      masksTruncated: false,
      sharePrefix: training.share_prefix,
      padTokenId: prepared.tokenizer.padTokenId,
    })!;
    const batch = {
      rows: whole.batchSize,
      tokens: whole.tokens,
      tiles: whole.images?.shape[0] ?? 0,
    };
    whole.dispose();
    onProgress(`longest batch: ${batch.rows} rows of ${batch.tokens} tokens, ${batch.tiles} tiles`);
    const { method, dispose } = grpoMethod(
      { ...config, training: { ...training, gradient_accumulation_steps: 1 } },
      {
        prepared,
        train: data.train,
        evaluation: null,
        scorer,
        groups,
        rollouts: {
          make: () => Promise.resolve({ rollout, metrics: {}, completions: [], sampled: 0 }),
        },
      },
    );
    freeReference = dispose;
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
    return {
      backend: backend.reason,
      model: prepared.origin,
      parameters: settings.parameters,
      trained: settings.trained,
      examples: { train: data.train.length, evaluation: data.evaluation?.length ?? null },
      skipped: data.train.skipped.rows.length + skipped,
      looked,
      batch,
      estimate: estimateStepMemory(model.config, batch, settings, {
        entropies: entropyBytes(
          model.config,
          prompts.length * config.grpo.num_generations * config.grpo.max_completion_length,
          backend.name === "webgpu",
        ),
        generation: generationBytes(model.config, {
          prompts: training.per_device_train_batch_size * training.gradient_accumulation_steps,
          promptTokens: Math.max(...prompts.map(({ ids }) => ids.length)),
          completions: config.grpo.num_generations,
          newTokens: config.grpo.max_completion_length,
          shared: backend.name === "wasm",
        }),
      }),
      measured: {
        weights: modelBytes(model),
        gradients: 4 * sizeOf(accumulator.gradients.values()),
        pass: peakBytes,
        gpu: peakGpuBytes(),
        process: Deno.memoryUsage().rss,
      },
      loss: result.losses.reduce((sum, loss) => sum + loss, 0),
      gradNorm: result.gradNorm,
      seconds: (performance.now() - started) / 1000,
      warnings: [...prepared.warnings, ...warnings],
    };
  } finally {
    accumulator.reset();
    optimizer?.dispose();
    freeReference();
    model.dispose();
  }
}
