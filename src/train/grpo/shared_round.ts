/**
 * A round of generation that several ranks share: each answers and scores some of the prompts with
 * its own sandboxes, and then every rank has all completions with their scores.
 *
 * Groups are never split. Every rank computes advantages and metrics from the whole round, so that
 * they are those of one process.
 *
 * @module
 */
import { gatherJson, type Ranks } from "../../distributed/ranks.ts";
import type { RewardFailureError } from "../../rewards/reward_sandbox.ts";
import { MeanMetrics, type MeanMetricsState } from "./mean_metrics.ts";
import type { Episode } from "./episodes/episode.ts";
import type { RolloutGroup } from "./rollout.ts";
import type { Completion } from "./sampling.ts";

/** A prompt's completions and their scores. */
export interface AnsweredPrompt {
  /** Number of the prompt in the round. */
  readonly number: number;
  readonly completions: readonly Completion[];
  /** [G][functions] */
  readonly rewards: readonly (readonly (number | null)[])[];
}

/** What one rank did. */
export interface RankAnswers {
  readonly answered: readonly AnsweredPrompt[];
  readonly metrics: MeanMetricsState;
  /** Why the run must stop; null: it goes on. */
  readonly failure: Pick<RewardFailureError, "message" | "functionName" | "result"> | null;
}

/** Floats as base64 of little-endian float64: shorter than JSON's digits, and to the bit. */
const encode = (values: readonly number[]): string =>
  new Uint8Array(Float64Array.from(values).buffer).toBase64();
const decode = (text: string): number[] =>
  Array.from(new Float64Array(Uint8Array.fromBase64(text).buffer));

/** An episode as JSON. Its state stays with the rank that has scored it. */
const tellEpisode = ({ pictures, ...episode }: Episode) => ({
  ...episode,
  state: null,
  pictures: pictures.map((bytes) => bytes.toBase64()),
});
const hearEpisode = ({ pictures, ...episode }: ReturnType<typeof tellEpisode>): Episode => ({
  ...episode,
  pictures: pictures.map((text) => Uint8Array.fromBase64(text)),
});

/** The numbers of the prompts that this rank answers. */
export function ownPrompts(count: number, { rank, size }: Ranks): number[] {
  return Array.from({ length: count }, (_, number) => number)
    .filter((number) => number % size === rank);
}

/**
 * Tells all ranks what each of them did.
 *
 * @returns one entry a rank
 */
export async function shareAnswers(ranks: Ranks, own: RankAnswers): Promise<RankAnswers[]> {
  if (ranks.size === 1) return [own];
  const told = {
    ...own,
    answered: own.answered.map((one) => ({
      ...one,
      completions: one.completions.map((completion) => ({
        ...completion,
        logProbs: encode(completion.logProbs),
        filteredLogProbs: encode(completion.filteredLogProbs),
        episode: completion.episode && tellEpisode(completion.episode),
      })),
    })),
  };
  const all = await gatherJson(ranks, told, "the completions of a round", { patient: true });
  return all.map((one) => ({
    ...one,
    answered: one.answered.map((prompt) => ({
      ...prompt,
      completions: prompt.completions.map((completion) => ({
        ...completion,
        logProbs: decode(completion.logProbs),
        filteredLogProbs: decode(completion.filteredLogProbs),
        episode: completion.episode && hearEpisode(completion.episode),
      })),
    })),
  }));
}

/** The metrics of a step, those of all ranks together: means over all parts, the longest times. */
export async function shareMetrics(ranks: Ranks, metrics: MeanMetrics): Promise<MeanMetrics> {
  if (ranks.size === 1) return metrics;
  return MeanMetrics.of(await gatherJson(ranks, metrics.state(), "the metrics of a step"));
}

/**
 * The reference's log-probabilities of all groups of a round.
 *
 * @param groups of the round
 * @param own those that this rank has computed, by their number in the round
 */
export async function shareReference(
  ranks: Ranks,
  groups: readonly RolloutGroup[],
  own: ReadonlyMap<number, RolloutGroup>,
): Promise<RolloutGroup[]> {
  const told = [...own].map(([number, { sequences }]) => ({
    number,
    refLogProbs: sequences.map(({ refLogProbs }) => encode(refLogProbs!)),
  }));
  const all = (await gatherJson(ranks, told, "the reference's log-probabilities")).flat();
  const byNumber = new Map(all.map(({ number, refLogProbs }) => [number, refLogProbs]));
  return groups.map(({ prompt, sequences }, number) => ({
    prompt,
    sequences: sequences.map((sequence, g) => ({
      ...sequence,
      refLogProbs: decode(byNumber.get(number)![g]),
    })),
  }));
}

/**
 * The entropies of all micro-batches of a step, in their order.
 *
 * @param own those that this rank has computed, by the number of the micro-batch
 */
export async function shareEntropies(
  ranks: Ranks,
  own: ReadonlyMap<number, Float64Array>,
): Promise<Map<number, Float64Array>> {
  if (ranks.size === 1) return new Map(own);
  const told = [...own].map(([number, values]) => ({ number, values: encode([...values]) }));
  const all = (await gatherJson(ranks, told, "the entropies of a step")).flat();
  all.sort((a, b) => a.number - b.number);
  return new Map(all.map(({ number, values }) => [number, Float64Array.from(decode(values))]));
}
