/**
 * GKD's method and teacher out of a config, a model and data.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { FactGroup } from "../../report/page/report_contents.ts";
import { exampleParts } from "../batches/example_parts.ts";
import { CompletionSampler, type SamplingSettings } from "../grpo/sampling.ts";
import { methodOptions } from "../loop/base_method.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { configuredGroups, splitByDecay } from "../optimizer/parameter_groups.ts";
import { answerMetrics } from "../run/answer_metrics.ts";
import type { AnswerSamples } from "../sft/method.ts";
import { GKDExampleMaker } from "./examples.ts";
import { type GKDDataset, GKDMethod, type GKDParts } from "./method.ts";
import type { Teacher } from "./teacher.ts";

/** What GKD's method is made of. */
export interface GKDInputs {
  readonly prepared: LoadedModel;
  readonly teacher: Teacher;
  readonly train: GKDDataset;
  /** Held out; null: no evaluation. */
  readonly evaluation: GKDDataset | null;
  /** Asks the model a few questions after an evaluation. */
  readonly answerSamples?: AnswerSamples | null;
  /** In place of the models, for a dry run. */
  readonly samplers?: GKDParts["samplers"];
}

/** How answers are sampled: as TRL's trainer does, from the whole distribution. */
function answerSampling({ gkd, training }: ResolvedConfig): SamplingSettings {
  return {
    temperature: gkd.temperature,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    maxCompletionLength: gkd.max_new_tokens,
    seed: training.seed,
  };
}

/** GKD's method. */
export function gkdMethod(config: ResolvedConfig, inputs: GKDInputs): GKDMethod {
  const { training, gkd } = config;
  const { prepared, teacher, train, evaluation, answerSamples } = inputs;
  const settings = answerSampling(config);
  return new GKDMethod({
    model: prepared.model,
    teacher,
    maker: new GKDExampleMaker(
      exampleParts(prepared, training.dataloader_num_workers),
      training.max_seq_length ?? prepared.model.config.lm_max_length,
    ),
    dataset: train,
    evalDataset: evaluation,
    samplers: inputs.samplers ?? {
      student: new CompletionSampler(prepared, settings),
      teacher: new CompletionSampler(teacher.loaded, settings),
    },
    answerSamples,
    answerMetrics: answerMetrics(prepared, evaluation, training),
  }, {
    ...methodOptions(training),
    disableDropout: gkd.disable_dropout,
    beta: gkd.beta,
    lmbda: gkd.lmbda,
    seqKd: gkd.seq_kd,
  });
}

/** What trains under GKD, and how fast; biases and norms do not decay. */
export function gkdGroups({ model }: LoadedModel, { training }: ResolvedConfig): ParameterGroup[] {
  return splitByDecay(configuredGroups(model, training));
}

/** For the report. */
export function gkdFacts({ gkd }: ResolvedConfig, { name, loaded }: Teacher): FactGroup {
  const { config } = loaded.model;
  return {
    title: "GKD",
    facts: [
      ["teacher", name],
      ["teacher's decoder", `${config.lm_n_blocks} blocks of ${config.lm_hidden_dim}`],
      ["beta", gkd.beta],
      ["share of the student's own answers", gkd.lmbda],
      ["other answers", gkd.seq_kd ? "the teacher's" : "the data's"],
    ],
  };
}
