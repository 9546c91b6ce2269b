/**
 * `train gkd --dry-run`: the longest prompts with answers of full length once, under student and
 * teacher.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { EMBEDDED_CONFIGS } from "../../config/embedded/embedded_configs.ts";
import { parseConfig } from "../../config/load_config.ts";
import { BUILTIN_SHAPES } from "../../data/embedded/embedded_dataset.ts";
import { forbiddenTokenIds } from "../../generate/generate_text.ts";
import { answerEnds } from "../../text/answer_end.ts";
import { examplesInOrder } from "../batches/made_ahead.ts";
import {
  dryRun,
  type DryRunContext,
  type DryRunOptions,
  type LongestBatch,
} from "../dry_run/dry_run.ts";
import { divergenceBytes, generationBytes } from "../dry_run/memory_estimate.ts";
import type { DryRunReport } from "../dry_run/report.ts";
import { modelBytes } from "../dry_run/step_memory_options.ts";
import { type PreparedModel, prepareModel } from "../run/prepare_model.ts";
import { longestExamples } from "../sft/longest_examples.ts";
import { sftExampleMaker } from "../sft/setup.ts";
import type { AnswerSampler } from "./answers.ts";
import { gkdGroups, gkdMethod } from "./setup.ts";
import { Teacher } from "./teacher.ts";

/** The teacher of a config; in place of the embedded one a fresh model of its dims. */
async function measuredTeacher(config: ResolvedConfig, student: PreparedModel): Promise<Teacher> {
  const name = config.gkd.teacher_model_name_or_path!;
  if (name !== BUILTIN_SHAPES) return await Teacher.load(name, student);
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text, { trainingType: "sft" });
  return new Teacher(await prepareModel(model, config.training.seed), name, true);
}

/** Answers of one length, of a token that ends nothing. */
function fullAnswers({ model, tokenizer }: PreparedModel, length: number): AnswerSampler {
  const never = new Set([
    ...forbiddenTokenIds(tokenizer, model.config.lm_vocab_size),
    ...answerEnds(tokenizer).stops,
  ]);
  let id = 0;
  while (never.has(id)) id++;
  const completion = {
    tokens: new Array<number>(length).fill(id),
    logProbs: [],
    filteredLogProbs: [],
    finishReason: "length" as const,
    text: "",
  };
  return {
    sample: ({ prompts }) =>
      Promise.resolve({
        completions: prompts.map(() => completion),
        prefillSeconds: 0,
        decodeSeconds: 0,
      }),
  };
}

async function longest(
  { config, prepared, data, weight, say }: DryRunContext<"vqa">,
): Promise<LongestBatch> {
  const { training, gkd } = config;
  const { model } = prepared;
  const teacher = await measuredTeacher(config, prepared);
  say(`teacher ${teacher.name}`);
  const count = training.per_device_train_batch_size;
  try {
    const { dataset, looked } = await longestExamples(data.train, {
      maker: sftExampleMaker(prepared, config),
      processor: prepared.imageProcessor,
      count,
      sharePrefix: false,
      weight,
    });
    const inputs = { prepared, teacher, train: dataset, evaluation: null };
    const { maker } = gkdMethod(config, inputs).parts;
    let promptTokens = 0, answerTokens = 0;
    for await (const placed of examplesInOrder(dataset, false)) {
      const { promptIds, answerIds } = await maker.make(placed);
      promptTokens = Math.max(promptTokens, promptIds.length);
      answerTokens = Math.max(answerTokens, answerIds.length);
    }
    await maker.tiles.release();
    const samples = gkd.lmbda > 0 || gkd.seq_kd;
    const newTokens = samples ? Math.max(answerTokens, gkd.max_new_tokens) : answerTokens;
    const full = fullAnswers(prepared, newTokens);
    const method = gkdMethod({
      ...config,
      training: {
        ...training,
        gradient_accumulation_steps: 1,
        dataloader_drop_last: false,
        dataloader_num_workers: 0,
      },
      gkd: { ...gkd, lmbda: samples ? 1 : 0 },
    }, { ...inputs, samplers: { student: full, teacher: full } });
    const side = samples ? count * training.gradient_accumulation_steps : 0;
    const shape = { prompts: side, promptTokens, completions: 1, newTokens, shared: false };
    return {
      method,
      size: null,
      looked,
      skipped: dataset.skipped.rows.length,
      warnings: [],
      memory: {
        reference: modelBytes(teacher.loaded.model),
        divergences: divergenceBytes(model.config, count * newTokens, gkd.beta),
        generation: Math.max(
          generationBytes(model.config, shape),
          generationBytes(teacher.loaded.model.config, shape),
        ),
      },
      dispose: () => teacher[Symbol.dispose](),
    };
  } catch (error) {
    teacher[Symbol.dispose]();
    throw error;
  }
}

/** {@linkcode dryRun} of GKD. */
export async function dryRunGKD(
  config: ResolvedConfig,
  options: DryRunOptions,
): Promise<DryRunReport> {
  return await dryRun(config, options, {
    format: "vqa",
    examples: "examples",
    groups: gkdGroups,
    longest,
  });
}
