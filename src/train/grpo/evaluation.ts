/**
 * The mean reward of greedy answers to held-out prompts.
 *
 * @module
 */
import type { GrpoExample } from "../../data/rows/formats.ts";
import type { Row } from "../../data/rows/row.ts";
import { acceptedAnswers } from "../../evaluate/accepted_answers.ts";
import { metricValues } from "../../evaluate/held_out_metrics.ts";
import { type MetricRequest, MetricTally } from "../../evaluate/metrics/metric_tally.ts";
import { computeAdvantages } from "../../losses/advantages.ts";
import { answerType } from "../../evaluate/question_rows.ts";
import { chooseAnswers } from "../../report/choose_answers.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import type { GRPOPrompt, GRPOPromptMaker } from "./prompts.ts";
import type { GRPODataset } from "./prompt_stream.ts";
import { episodeText } from "./episodes/episode.ts";
import { lengthMetrics } from "./rollout_maker.ts";
import type { Completion, Sampler } from "./sampling.ts";
import type { Scorer } from "./scoring.ts";
import { evaluateSets, type SetOutcome } from "../loop/evaluate_sets.ts";
import { heldOutBatches } from "../batches/made_ahead.ts";
import { evaluationTimes } from "../loop/base_method.ts";
import type { EvaluationOutcome } from "../loop/training_method.ts";

/** A score of 1 by such a built-in function means that an answer is right. */
const SAYS_RIGHT = /accuracy|exact_?match/i;

/** The metrics of a training step that an evaluation has too. */
const EVALUATED =
  /^reward(_std)?$|^rewards\/.*\/mean$|^completions\/(mean_length|clipped_ratio)$|^environment\//;

/** Columns that hold what should be answered. */
const ANSWER_COLUMNS = ["answers", "answer", "solution"] as const;

/** What should be answered, for a row of one answer. */
function expectedAnswer({ answer, solution }: Row): string | null {
  const expected = answer ?? solution ?? null;
  return expected === null ? null : String(expected);
}

/** Numbers of sampled answers begin here, so that they are none of a training round's. */
const FIRST_ID = 2 ** 30;

/** A prompt, an answer to it and the rewards of that. */
interface Answered {
  readonly prompt: GRPOPrompt;
  readonly completion: Completion;
  readonly rewards: readonly (number | null)[];
}

/** What an evaluation works with. */
export interface GRPOEvaluatorParts {
  /** Held out. */
  readonly dataset: GRPODataset;
  /** Rows → prompts. */
  readonly maker: GRPOPromptMaker;
  readonly sampler: Sampler;
  readonly scorer: Scorer;
}

/** Evaluates on one data set. */
export class GRPOEvaluator {
  /**
   * @param options `batchSize`: prompts that are answered side by side; `metrics`: of the answers
   * @throws {Error} if metrics are asked for and the data has no column of accepted answers
   */
  constructor(
    readonly parts: GRPOEvaluatorParts,
    readonly options: {
      readonly batchSize: number;
      readonly metrics?: readonly MetricRequest[];
      /** Sampled answers to each prompt; null or absent: one, greedy. */
      readonly numGenerations?: number | null;
    },
  ) {
    const { name, columns } = parts.dataset;
    if ((options.metrics ?? []).length === 0) return;
    if (ANSWER_COLUMNS.some((column) => columns.includes(column))) return;
    throw new Error(
      `Cannot compute training.eval_metrics: ${name} has no column ${
        ANSWER_COLUMNS.join(", ")
      } of accepted answers; its columns are ${columns.join(", ")}; rename one with ` +
        "dataset.rename_columns, or leave out training.eval_metrics",
    );
  }

  /**
   * Answers and scores every prompt.
   *
   * @param signal ends it between two tokens, with its reason as the error
   * @returns null if no prompt can be used
   */
  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    const outcome = await evaluateSets(
      this.parts.dataset,
      (one) => this.#evaluateOne(one, signal),
    );
    return outcome && { ...outcome, samples: chooseAnswers(outcome.samples) };
  }

  async #evaluateOne(dataset: GRPODataset, signal?: AbortSignal): Promise<SetOutcome | null> {
    const { maker, sampler, scorer } = this.parts;
    const { batchSize, numGenerations = null } = this.options;
    const G = numGenerations ?? 1;
    const started = performance.now();
    const answered: Answered[] = [];
    const make = ({ example, row }: PlacedExample<GrpoExample>) =>
      maker.make({ example }, row === null ? null : String(row), null);
    for await (const batch of heldOutBatches(dataset, make, batchSize, signal)) {
      const prompts = batch.map(({ made }) => made);
      const { completions } = await sampler.sample({
        prompts,
        numGenerations: G,
        promptsAtOnce: batchSize,
        firstId: FIRST_ID + answered.length,
        greedy: numGenerations === null,
        signal,
      });
      signal?.throwIfAborted(); // before cut answers are scored
      const asked = prompts.flatMap((prompt) => new Array<GRPOPrompt>(G).fill(prompt));
      const { rewards } = await scorer.score(asked, completions, {});
      asked.forEach((prompt, i) =>
        answered.push({ prompt, completion: completions[i], rewards: rewards[i] })
      );
    }
    if (answered.length === 0) return null;
    const samples = answered.filter((_, i) => i % G === 0)
      .map((one, i) => this.#sample(one, `${dataset.name} ${i}`));
    return {
      metrics: {
        ...this.#metrics(answered),
        ...evaluationTimes(started, answered.length),
        ...this.#answerMetrics(answered),
      },
      samples: chooseAnswers(samples),
      all: samples.map(({ pictures: _, ...sample }) => sample),
      examples: answered.length / G,
    };
  }

  #metrics(answered: readonly Answered[]): Record<string, number> {
    const { metrics } = computeAdvantages({
      rewards: answered.map(({ rewards }) => rewards),
      numGenerations: 1,
      rewardWeights: this.parts.scorer.weights,
      rewardNames: this.parts.scorer.names,
      scaleRewards: "batch",
    });
    const lengths = lengthMetrics(answered.map(({ completion }) => completion));
    return Object.fromEntries(
      Object.entries({ ...metrics, ...lengths })
        .filter(([name, value]) => EVALUATED.test(name) && Number.isFinite(value))
        .map(([name, value]) => [`eval_${name}`, value]),
    );
  }

  /** `training.eval_metrics` of the answers whose rows have an accepted one. */
  #answerMetrics(answered: readonly Answered[]): Record<string, number> {
    const { metrics = [] } = this.options;
    if (metrics.length === 0) return {};
    const tally = new MetricTally(metrics);
    let scored = 0;
    for (const { prompt: { example }, completion } of answered) {
      const expected = expectedAnswer(example.columns) ?? "";
      const accepted = acceptedAnswers(example.columns, 0, 1, expected);
      if (accepted.length === 1 && accepted[0] === "") continue;
      tally.add(completion.text, accepted);
      scored++;
    }
    return scored === 0 ? {} : metricValues(tally.scores);
  }

  #sample({ prompt, completion, rewards }: Answered, id: string): EvaluationSample {
    const { columns, images, prompt: messages } = prompt.example;
    const expected = expectedAnswer(columns);
    const { names, builtin } = this.parts.scorer;
    const judge = names.findIndex((name, i) => builtin?.[i] === true && SAYS_RIGHT.test(name));
    const weighted = rewards.flatMap((reward, f) =>
      reward === null ? [] : [reward * (this.parts.scorer.weights[f] ?? 1)]
    );
    return {
      id,
      pictures: [...images.map(({ bytes }) => bytes), ...completion.episode?.pictures ?? []],
      question: messages.at(-1)?.content ?? "",
      expected,
      answer: completion.episode ? episodeText(completion.episode) : completion.text,
      correct: judge < 0 || rewards[judge] === null ? null : rewards[judge] === 1,
      type: answerType(columns, 0),
      reward: weighted.length === 0 ? null : weighted.reduce((sum, value) => sum + value, 0),
    };
  }
}
