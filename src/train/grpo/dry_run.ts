/**
 * `train grpo --dry-run`: calls every reward once, and runs the forward and the backward pass of
 * the longest prompts with completions of full length once, the reference included. Nothing is
 * sampled.
 *
 * @module
 */
import { answerEnds } from "../../text/answer_end.ts";
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { RowSkipped } from "../../data/data_error.ts";
import type { GrpoExample } from "../../data/rows/formats.ts";
import { forbiddenTokenIds } from "../../generate/generate_text.ts";
import { RandomStream } from "../../random.ts";
import {
  dryRun,
  type DryRunContext,
  type DryRunOptions,
  type LongestBatch,
} from "../dry_run/dry_run.ts";
import type { DryRunReport } from "../dry_run/report.ts";
import { completionRows } from "./policy.ts";
import { type GRPOPrompt, GRPOPromptMaker } from "./prompts.ts";
import type { GRPODataset } from "./prompt_stream.ts";
import { referenceBytes } from "../loop/reference_policy.ts";
import type { Rollout, RolloutSequence } from "./rollout.ts";
import { type GRPOModules, startModules } from "./episodes/start_modules.ts";
import { tryEnvironment } from "./episodes/try_environment.ts";
import { grpoGroups, grpoMethod } from "./setup.ts";
import type { ExampleSize } from "../dry_run/example_size.ts";
import { exampleSize } from "../sft/longest_examples.ts";
import { placedExamples, unlessSkipped } from "../../data/placed_examples.ts";
import { entropyBytes, generationBytes } from "../dry_run/memory_estimate.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { sftExampleMaker } from "../sft/setup.ts";
import { exampleParts } from "../batches/example_parts.ts";
import { sizeOfRows } from "../loop/training_method.ts";

/** Most prompts that are looked at. */
const MOST_PROMPTS = 5000;

/** The prompts that take the most memory, found without decoding a picture. */
async function longestPrompts(
  dataset: GRPODataset,
  prepared: PreparedModel,
  { training, grpo }: ResolvedConfig,
  weight: (size: ExampleSize) => number,
): Promise<{ prompts: GRPOPrompt[]; looked: number }> {
  const { imageProcessor } = prepared;
  const sizes = sftExampleMaker(prepared, {
    training: { ...training, max_seq_length: grpo.max_prompt_length },
  });
  const maker = new GRPOPromptMaker(exampleParts(prepared, 0), grpo.max_prompt_length);
  const candidates: { example: GrpoExample; place: string; bytes: number }[] = [];
  let looked = 0;
  for await (const { example, place } of placedExamples(dataset)) {
    if (looked++ === MOST_PROMPTS) break;
    const { images, prompt, columns } = example;
    const turns = [{ user: prompt.map(({ content }) => content).join("\n"), assistant: "" }];
    const size = unlessSkipped(
      dataset.skipped,
      place,
      () => exampleSize({ images, turns, columns }, sizes, imageProcessor),
    );
    if (size !== null) candidates.push({ example, place, bytes: weight(size) });
  }
  candidates.sort((a, b) => b.bytes - a.bytes);
  const prompts: GRPOPrompt[] = [];
  for (const { example, place } of candidates) {
    if (prompts.length === training.per_device_train_batch_size) break;
    try {
      prompts.push(await maker.make({ example }, null, { epoch: 0, index: prompts.length }));
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      dataset.skipped.note(error.at(place));
    }
  }
  if (prompts.length === 0) {
    throw new Error(
      `Cannot find the longest prompts: none of ${dataset.name} can be used\n` +
        dataset.skipped.summary(),
    );
  }
  dataset.skipped.judge();
  return { prompts, looked: Math.min(looked, MOST_PROMPTS) };
}

/** Completions of full length, half of them with a positive advantage. */
function fullCompletions(prepared: PreparedModel, { grpo }: ResolvedConfig): RolloutSequence[] {
  const { model, tokenizer } = prepared;
  const { lm_vocab_size } = model.config;
  const never = new Set([
    ...forbiddenTokenIds(tokenizer, lm_vocab_size),
    ...answerEnds(tokenizer).stops,
  ]);
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

/** Calls every reward function and the environment once. Returns a line for each that failed. */
async function tryModules(
  { scorer, environment }: GRPOModules,
  prompts: readonly GRPOPrompt[],
  sequence: RolloutSequence,
  prepared: PreparedModel,
): Promise<string[]> {
  const { tokens, logProbs } = sequence;
  const text = prepared.tokenizer.decodeAnswer(tokens);
  const completion = {
    tokens: [...tokens],
    logProbs: [...logProbs],
    filteredLogProbs: [...logProbs],
    finishReason: "length" as const,
    text,
  };
  const { functions } = await scorer.score(prompts, prompts.map(() => completion), {});
  const failed = environment === null ? [] : await tryEnvironment(environment, prompts, text);
  return [
    ...failed,
    ...functions.filter(({ error }) => error !== null)
      .map(({ name, error }) => `reward ${name} failed: ${error}`),
  ];
}

async function longest(
  { config, backend, prepared, groups, data, weight, say }: DryRunContext<"grpo">,
): Promise<LongestBatch> {
  const { training, grpo } = config;
  const { model } = prepared;
  const modules = await startModules(config);
  const { scorer, environment } = modules;
  try {
    say(`rewards ${scorer.names.join(", ")}`);
    if (environment !== null) say(`environment ${grpo.environment}, ${grpo.max_turns} turns`);
    const found = await longestPrompts(data.train, prepared, config, weight);
    const { prompts, looked } = found;
    const sequences = fullCompletions(prepared, config);
    const warnings = await tryModules(modules, prompts, sequences[0], prepared);
    const rollout: Rollout = {
      sampledAtStep: 0,
      groups: prompts.map((prompt) => ({ prompt, sequences })),
    };
    const { method, dispose } = grpoMethod(
      { ...config, training: { ...training, gradient_accumulation_steps: 1 } },
      {
        prepared,
        train: data.train,
        evaluation: null,
        scorer,
        groups,
        rollouts: {
          make: () =>
            Promise.resolve({
              rollout,
              deviations: prompts.map(() => 1),
              metrics: {},
              completions: [],
              sampled: 0,
            }),
        },
      },
    );
    const tokens = prompts.length * grpo.num_generations * grpo.max_completion_length;
    const sharePrefix = training.share_prefix;
    return {
      method,
      size: sizeOfRows(
        completionRows(model, rollout.groups, { masksTruncated: false, sharePrefix }),
      ),
      looked,
      skipped: 0,
      warnings,
      memory: {
        reference: grpo.beta > 0 ? referenceBytes(model, groups) : 0,
        entropies: entropyBytes(model.config, tokens, backend.name),
        generation: generationBytes(model.config, {
          prompts: training.per_device_train_batch_size * training.gradient_accumulation_steps,
          promptTokens: Math.max(...prompts.map(({ ids }) => ids.length)),
          completions: grpo.num_generations,
          newTokens: grpo.max_completion_length,
          shared: backend.name === "wasm",
        }),
      },
      async dispose() {
        dispose();
        await modules[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await modules[Symbol.asyncDispose]();
    throw error;
  }
}

/** {@linkcode dryRun} of GRPO. */
export async function dryRunGRPO(
  config: ResolvedConfig,
  options: DryRunOptions,
): Promise<DryRunReport> {
  return await dryRun(config, options, {
    format: "grpo",
    examples: "prompts",
    groups: grpoGroups,
    longest,
  });
}
