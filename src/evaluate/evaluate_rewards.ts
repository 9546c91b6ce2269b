/**
 * The mean reward of answers on a grpo data set: one greedy answer a prompt, or several sampled ones.
 *
 * @module
 */
import { rewardPrompt } from "../data/rows/grpo_format.ts";
import type { Dataset } from "../data/dataset.ts";
import type { GrpoExample } from "../data/rows/formats.ts";
import type { Cell } from "../data/rows/row.ts";
import type { PromptImage, TextPrompt } from "../generate/generate_text.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import type { RewardSandbox } from "../rewards/reward_sandbox.ts";
import {
  type AnswerOptions,
  answerQuestions,
  type AnswerSampling,
  sampleAnswers,
} from "./answer_questions.ts";
import { type RewardSpread, SpreadTally } from "./reward_spread.ts";
import { chatBuilder, withPictures } from "./question_rows.ts";

/** One scored answer. */
export interface ScoredAnswer {
  readonly prompt: string;
  /** Number of the answer among those of its prompt, from 0. */
  readonly sample: number;
  readonly answer: string;
  /** Weighted sum; null if no function applied. */
  readonly reward: number | null;
  /** By function; null if it did not apply or failed. */
  readonly rewards: Readonly<Record<string, number | null>>;
}

/** How to evaluate. */
export interface EvaluateRewardsOptions extends AnswerOptions {
  /** Answers each prompt several times, at random; default: once, greedily. */
  readonly sampling?: Omit<AnswerSampling, "firstId">;
  /** Called with each answer in the order of the data. */
  readonly onAnswer?: (scored: ScoredAnswer) => void | Promise<void>;
}

/** The results. */
export interface RewardScores {
  readonly examples: number;
  /** Mean of the weighted sums over the answers that have one. */
  readonly reward: number;
  /** Mean of each function over the answers that it scored. */
  readonly rewards: ReadonlyMap<string, number>;
  /** With several answers a prompt: how they differ; else null. */
  readonly spread: RewardSpread | null;
}

/** A running mean of what is not null. */
class Mean {
  #sum = 0;
  #count = 0;

  add(value: number | null): void {
    if (value === null) return;
    this.#sum += value;
    this.#count++;
  }

  get value(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }
}

/** A prompt that is ready to be answered. */
interface Asked extends TextPrompt {
  readonly images: readonly PromptImage[];
  readonly example: GrpoExample;
}

/** Every column that any of the rows has, null if a row lacks it. */
function columnsOf(rows: readonly Asked[]): Record<string, Cell[]> {
  const names = new Set(rows.flatMap(({ example }) => Object.keys(example.columns)));
  return Object.fromEntries(
    [...names].map((
      name,
    ) => [
      name,
      rows.map(({ example }) =>
        Object.hasOwn(example.columns, name) ? example.columns[name] : null
      ),
    ]),
  );
}

/**
 * Answers every prompt and scores the answers.
 *
 * @param loaded the model with its tokenizer and image processor
 * @param dataset a row that cannot be used is counted in its `skipped`
 * @param sandbox holds the reward functions
 * @param options `signal` ends it between two tokens; the means are then those of the batches so far
 * @throws {DataError} if more than 10 % of the rows cannot be used
 * @throws {RewardFailureError} if a function failed several times in a row
 */
export async function evaluateRewards(
  loaded: LoadedModel,
  dataset: Dataset<GrpoExample>,
  sandbox: RewardSandbox,
  options: EvaluateRewardsOptions = {},
): Promise<RewardScores> {
  const { onAnswer, onProgress, batchSize = 64, maxNewTokens = 256, signal, sampling, ...rest } =
    options;
  const samples = sampling?.samples ?? 1;
  const builder = chatBuilder(loaded);
  const reward = new Mean();
  const means = new Map(sandbox.functions.map((name) => [name, new Mean()]));
  const spread = new SpreadTally(samples, sandbox.functions);
  let window: Asked[] = [], examples = 0;
  const flush = async () => {
    const { model, tokenizer } = loaded;
    const how = { ...rest, batchSize, maxNewTokens, signal };
    const answers = sampling === undefined
      ? await answerQuestions(model, tokenizer, window, how)
      : (await sampleAnswers(model, tokenizer, window, {
        ...how,
        sampling: { ...sampling, firstId: examples * samples },
      })).flat();
    if (signal?.aborted) return;
    const asked = window.flatMap((one) => new Array<Asked>(samples).fill(one));
    const { functions, total } = await sandbox.score({
      prompts: asked.map(({ example }) => rewardPrompt(example)),
      completions: asked.map(({ example }, i) =>
        example.conversational ? [{ role: "assistant", content: answers[i] }] : answers[i]
      ),
      columns: columnsOf(asked),
    });
    spread.add(total, functions);
    for (const [i, { example }] of asked.entries()) {
      reward.add(total[i]);
      for (const { name, scores } of functions) means.get(name)?.add(scores[i]);
      await onAnswer?.({
        prompt: example.prompt.at(-1)?.content ?? "",
        sample: i % samples,
        answer: answers[i],
        reward: total[i],
        rewards: Object.fromEntries(functions.map(({ name, scores }) => [name, scores[i]])),
      });
    }
    examples += window.length;
    window = [];
    onProgress?.(examples);
  };
  for await (const { example, images } of withPictures(loaded, builder, dataset, signal)) {
    window.push({ messages: example.prompt, images, example });
    if (window.length * samples >= batchSize) await flush();
  }
  if (window.length > 0) await flush();
  const rewards = new Map([...means].map(([name, mean]) => [name, mean.value]));
  return { examples, reward: reward.value, rewards, spread: samples > 1 ? spread.result : null };
}
