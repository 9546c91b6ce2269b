/**
 * The mean reward of greedy answers to held-out prompts.
 *
 * @module
 */
import type { GrpoExample } from "../../data/rows/formats.ts";
import { computeAdvantages } from "../../losses/advantages.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import type { GRPOPrompt, GRPOPromptMaker } from "./prompts.ts";
import type { GRPODataset } from "./prompt_stream.ts";
import { lengthMetrics } from "./rollout_maker.ts";
import type { Completion, CompletionSampler } from "./sampling.ts";
import type { Scorer } from "./scoring.ts";
import { examplesInOrder, madeAhead } from "../batches/micro_batches.ts";
import type { EvaluationOutcome } from "../loop/training_method.ts";

/** Questions that the report shows. */
const SAMPLES = 8;
/** A score of 1 by such a function means that an answer is right. */
const SAYS_RIGHT = /accuracy|exact_match|correct/i;

/** The metrics of a training step that an evaluation has too. */
const EVALUATED = /^reward(_std)?$|^rewards\/.*\/mean$|^completions\/(mean_length|clipped_ratio)$/;

/** A prompt, its greedy answer and what that earned. */
interface Answered {
  readonly prompt: GRPOPrompt;
  readonly completion: Completion;
  readonly rewards: readonly (number | null)[];
}

/** Evaluates on one data set. */
export class GRPOEvaluator {
  constructor(
    readonly dataset: GRPODataset,
    readonly maker: GRPOPromptMaker,
    readonly sampler: CompletionSampler,
    readonly scorer: Scorer,
    /** Prompts that are answered side by side. */
    readonly batchSize: number,
  ) {}

  /**
   * Answers and scores every prompt.
   *
   * @param signal ends it between two tokens, with its reason as the error
   * @returns null where no prompt can be used
   */
  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    const started = performance.now();
    const answered: Answered[] = [];
    let prompts: GRPOPrompt[] = [];
    const flush = async () => {
      signal?.throwIfAborted();
      const { completions } = await this.sampler.sample({
        prompts,
        numGenerations: 1,
        promptsAtOnce: this.batchSize,
        firstId: 0,
        greedy: true,
        signal,
      });
      signal?.throwIfAborted(); // before cut answers are scored
      const { rewards } = await this.scorer.score(prompts, completions, {});
      prompts.forEach((prompt, i) =>
        answered.push({ prompt, completion: completions[i], rewards: rewards[i] })
      );
      prompts = [];
    };
    const make = ({ example, row }: PlacedExample<GrpoExample>) =>
      this.maker.make({ example }, row === null ? null : String(row), null);
    const rows = examplesInOrder(this.dataset, true);
    for await (const { made } of madeAhead(rows, this.dataset, make, this.batchSize)) {
      prompts.push(made);
      if (prompts.length === this.batchSize) await flush();
    }
    if (prompts.length > 0) await flush();
    if (answered.length === 0) return null;
    const seconds = (performance.now() - started) / 1000;
    return {
      metrics: {
        ...this.#metrics(answered),
        eval_runtime: seconds,
        eval_samples_per_second: answered.length / seconds,
      },
      samples: answered.slice(0, SAMPLES).map((one) => this.#sample(one)),
    };
  }

  #metrics(answered: readonly Answered[]): Record<string, number> {
    const { metrics } = computeAdvantages({
      rewards: answered.map(({ rewards }) => rewards),
      numGenerations: 1,
      rewardWeights: this.scorer.weights,
      rewardNames: this.scorer.names,
      scaleRewards: "batch",
    });
    const lengths = lengthMetrics(answered.map(({ completion }) => completion));
    return Object.fromEntries(
      Object.entries({ ...metrics, ...lengths })
        .filter(([name, value]) => EVALUATED.test(name) && Number.isFinite(value))
        .map(([name, value]) => [`eval_${name}`, value]),
    );
  }

  #sample({ prompt, completion, rewards }: Answered): EvaluationSample {
    const { columns, images, prompt: messages } = prompt.example;
    const expected = columns.answer ?? columns.solution ?? null;
    const judge = this.scorer.names.findIndex((name) => SAYS_RIGHT.test(name));
    return {
      pictures: images.map(({ bytes }) => bytes),
      question: messages.at(-1)?.content ?? "",
      expected: expected === null ? null : String(expected),
      answer: completion.text,
      correct: judge < 0 || rewards[judge] === null ? null : rewards[judge] === 1,
    };
  }
}
