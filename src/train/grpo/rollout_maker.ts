/**
 * A round of generation: prompts → completions → rewards → advantages, with the metrics of it.
 *
 * @module
 */
import {
  computeAdvantages,
  groupDeviations,
  type RewardAggregation,
  type ScaleRewards,
} from "../../losses/advantages.ts";
import { groupsWithSpread, overlongPunishment } from "../../losses/dapo_sampling.ts";
import type { GRPOLoss } from "../../losses/grpo_losses.ts";
import {
  leaveOneOutAdvantages,
  reinforcePlusPlusAdvantages,
} from "../../losses/reinforce_advantages.ts";
import type { ReportedCompletion } from "../../report/files/report_file.ts";
import { currentRanks, type Ranks } from "../../distributed/ranks.ts";
import { RewardFailureError } from "../../rewards/reward_sandbox.ts";
import { MeanMetrics } from "./mean_metrics.ts";
import type { GRPOPrompt } from "./prompts.ts";
import {
  chosenPlaces,
  type PicturesOf,
  type Rollout,
  type RolloutGroup,
  type RolloutSequence,
} from "./rollout.ts";
import { chosenCount, type Episode, episodeText } from "./episodes/episode.ts";
import { episodeMetrics } from "./episodes/episode_metrics.ts";
import type { Completion, Sampler } from "./sampling.ts";
import type { Scorer } from "./scoring.ts";
import { type AnsweredPrompt, ownPrompts, type RankAnswers, shareAnswers } from "./shared_round.ts";

// P prompts, G completions of each, N = P·G, F reward functions

/** How rounds are made. */
export interface RolloutOptions {
  /** G */
  readonly numGenerations: number;
  /** Prompts of a round, P. */
  readonly prompts: number;
  /** Prompts that are answered side by side, on all ranks together. */
  readonly promptsAtOnce: number;
  readonly scaleRewards: ScaleRewards;
  /** How several reward functions become one advantage. */
  readonly aggregation: RewardAggregation;
  /** How RLOO and REINFORCE++ compute advantages; null: by `scaleRewards`. */
  readonly reinforce: ReinforceOptions | null;
  /** DAPO's dynamic sampling: at most so many rounds for one; null: off. */
  readonly dynamicSamplingRounds: number | null;
  /** DAPO's soft overlong punishment, tokens; null: off. */
  readonly overlongBufferLength: number | null;
  readonly overlongPenaltyFactor: number;
  /** Tokens. */
  readonly maxCompletionLength: number;
}

/** Advantages of RLOO and REINFORCE++. */
export interface ReinforceOptions {
  readonly kind: NonNullable<GRPOLoss["advantages"]>;
  /** Weight of the divergence from the reference in the reward; 0: it is not part of it. */
  readonly beta: number;
  readonly clipRange: readonly [number, number] | null;
  readonly normalize: boolean;
}

/** Name of the overlong punishment among the rewards. */
const OVERLONG = "soft_overlong_punishment";

/** A prompt with its completions and their scores. */
interface ScoredGroup {
  readonly prompt: GRPOPrompt;
  readonly completions: readonly Completion[];
  /** [G][F] */
  readonly rewards: readonly (readonly (number | null)[])[];
}

/** What a round is asked for. */
export interface RolloutRequest {
  /** Optimizer steps done. */
  readonly step: number;
  /** Number of the round's first completion among all of the run. */
  readonly firstId: number;
  readonly nextPrompt: () => Promise<GRPOPrompt>;
  /** Adds the reference's log-probabilities; needed if they are part of the reward. */
  readonly withReference?: (rollout: Rollout) => Promise<Rollout>;
  readonly signal?: AbortSignal;
}

/** A round with its metrics. */
export interface MadeRollout {
  /** Without reference log-probabilities, unless they are part of the reward. */
  readonly rollout: Rollout;
  /** Standard deviation of each group's rewards, in the order of the groups. */
  readonly deviations: ArrayLike<number>;
  /** Under TRL's names. */
  readonly metrics: Record<string, number>;
  readonly completions: readonly ReportedCompletion[];
  /** Completions that were sampled, those of replaced groups included. */
  readonly sampled: number;
}

/** What a round is made with. */
export interface RolloutParts {
  readonly sampler: Sampler;
  readonly scorer: Scorer;
  /** Processes pictures of an environment; needed if there is one. */
  readonly picturesOf?: PicturesOf;
}

/** Samples, scores, and compares within groups. */
export class RolloutMaker {
  readonly #names: readonly string[];
  readonly #weights: readonly number[];

  /** @param ranks share out the prompts */
  constructor(
    readonly parts: RolloutParts,
    readonly options: RolloutOptions,
    readonly ranks: Ranks = currentRanks(),
  ) {
    const { scorer } = parts;
    const punishes = options.overlongBufferLength !== null;
    this.#names = [...scorer.names, ...(punishes ? [OVERLONG] : [])];
    this.#weights = [...scorer.weights, ...(punishes ? [1] : [])];
  }

  /**
   * Makes a round.
   *
   * @returns null if the signal was aborted on the way
   * @throws {RewardFailureError} if a reward function failed several times in a row
   */
  async make(request: RolloutRequest): Promise<MadeRollout | null> {
    const { prompts: P, numGenerations: G, dynamicSamplingRounds } = this.options;
    const metrics = new MeanMetrics();
    const all: ScoredGroup[] = [];
    let kept: ScoredGroup[] = [];
    let rounds = 0;
    do {
      const missing = P - kept.length;
      const groups = await this.#sample(missing, request, all.length * G, metrics);
      if (groups === null) return null;
      all.push(...groups);
      kept.push(...(dynamicSamplingRounds === null ? groups : this.#withSpread(groups)));
    } while (kept.length < P && ++rounds < (dynamicSamplingRounds ?? 1));
    const replaced = all.length - P;
    // If the rounds are used up, groups without spread fill the batch; their advantages are 0.
    const filler = all.filter((group) => !kept.includes(group)).slice(0, P - kept.length);
    kept = [...kept, ...filler];

    const { advantages, rewards } = this.#advantages(kept);
    const sampled: Rollout = {
      sampledAtStep: request.step,
      groups: await Promise.all(
        kept.map(async ({ prompt, completions }, p): Promise<RolloutGroup> => ({
          prompt,
          sequences: await Promise.all(
            completions.map(async ({ tokens, logProbs, finishReason, episode }, g) => ({
              tokens,
              truncated: finishReason === "length",
              advantage: advantages[p * G + g],
              logProbs,
              refLogProbs: null,
              ...(episode === undefined ? {} : await this.#episodeParts(episode)),
            })),
          ),
        })),
      ),
    };
    const overall = this.#advantages(all);
    const rollout = await this.#reinforced(sampled, rewards, request, metrics);
    rollout.groups.flatMap(({ sequences }) => sequences)
      .forEach(({ advantage }, i) => advantages[i] = advantage);
    metrics.add(overall.metrics);
    metrics.add(lengthMetrics(all.flatMap(({ completions }) => completions)));
    if (dynamicSamplingRounds !== null) {
      metrics.add({
        "dynamic_sampling/replaced_groups": replaced,
        "dynamic_sampling/groups_without_spread": filler.length,
      });
    }
    const byGroup = new Map(kept.map((group, p) => [group, p]));
    const completions = all.flatMap((group, i) =>
      this.#report(group, { step: request.step + 1, group: request.firstId / G + i }, (g) => {
        const p = byGroup.get(group);
        const reward = overall.rewards[i * G + g];
        return {
          reward: Number.isNaN(reward) ? null : reward,
          advantage: p === undefined ? null : advantages[p * G + g],
        };
      })
    );
    return {
      rollout,
      deviations: groupDeviations(rewards, G),
      metrics: metrics.means(),
      completions,
      sampled: all.length * G,
    };
  }

  async #episodeParts(
    { chosen, pictures }: Episode,
  ): Promise<Pick<RolloutSequence, "chosen" | "pictures">> {
    const { picturesOf } = this.parts;
    return { chosen, pictures: pictures.length === 0 ? [] : await picturesOf!(pictures) };
  }

  /** Samples and scores some groups; null if aborted. */
  async #sample(
    count: number,
    request: RolloutRequest,
    idOffset: number,
    metrics: MeanMetrics,
  ): Promise<ScoredGroup[] | null> {
    const prompts: GRPOPrompt[] = [];
    while (prompts.length < count) prompts.push(await request.nextPrompt());
    const all = await shareAnswers(this.ranks, await this.#answer(prompts, request, idOffset));
    if (request.signal?.aborted) return null;
    const failure = all.find(({ failure }) => failure !== null)?.failure;
    if (failure) {
      throw new RewardFailureError(failure.message, failure.functionName, failure.result);
    }
    metrics.addParts(MeanMetrics.of(all.map(({ metrics }) => metrics)));
    const answers = all.flatMap(({ answered }) => answered).sort((a, b) => a.number - b.number);
    return answers.map(({ number, completions, rewards }) => ({
      prompt: prompts[number],
      completions,
      rewards: completions.map(({ tokens }, g) => [
        ...rewards[g],
        ...this.#punishment(tokens.length),
      ]),
    }));
  }

  /** Answers this rank's share of some prompts, and scores the answers. */
  async #answer(
    all: readonly GRPOPrompt[],
    request: RolloutRequest,
    idOffset: number,
  ): Promise<RankAnswers> {
    const { numGenerations: G, promptsAtOnce } = this.options;
    const metrics = new MeanMetrics();
    const numbers = ownPrompts(all.length, this.ranks);
    const prompts = numbers.map((number) => all[number]);
    let answered: AnsweredPrompt[] = [];
    let failure: RankAnswers["failure"] = null;
    try {
      const sampled = await this.parts.sampler.sample({
        prompts,
        numbers,
        numGenerations: G,
        promptsAtOnce: Math.max(1, Math.ceil(promptsAtOnce / this.ranks.size)),
        firstId: request.firstId + idOffset,
        step: request.step,
        signal: request.signal,
      });
      const { completions, prefillSeconds, decodeSeconds, environmentSeconds } = sampled;
      metrics.addSums({
        "time/prefill": prefillSeconds,
        "time/decode": decodeSeconds,
        ...(environmentSeconds === undefined ? {} : { "time/environment": environmentSeconds }),
      });
      if (prompts.length > 0 && !request.signal?.aborted) {
        const repeated = prompts.flatMap((prompt) => new Array<GRPOPrompt>(G).fill(prompt));
        const state = { global_step: request.step };
        const scored = await this.parts.scorer.score(repeated, completions, state);
        const { rewards, functions, seconds } = scored;
        metrics.addSums({ "time/rewards": seconds });
        for (const { name, error, timedOut, ms } of functions) {
          metrics.add({
            [`rewards/${name}/failed`]: error === null ? 0 : 1,
            [`rewards/${name}/timeouts`]: timedOut ? 1 : 0,
            [`rewards/${name}/ms`]: ms,
          });
        }
        answered = numbers.map((number, p) => ({
          number,
          completions: completions.slice(p * G, (p + 1) * G),
          rewards: rewards.slice(p * G, (p + 1) * G),
        }));
      }
    } catch (error) {
      // The other ranks have to stop as well.
      if (!(error instanceof RewardFailureError)) throw error;
      failure = {
        message: error.message,
        functionName: error.functionName,
        result: error.result,
      };
    }
    return { answered, metrics: metrics.state(), failure };
  }

  #punishment(length: number): number[] {
    const { overlongBufferLength, overlongPenaltyFactor, maxCompletionLength } = this.options;
    if (overlongBufferLength === null) return [];
    return [
      overlongPunishment(length, maxCompletionLength, overlongBufferLength, overlongPenaltyFactor),
    ];
  }

  #advantages(groups: readonly ScoredGroup[]) {
    return computeAdvantages({
      rewards: groups.flatMap(({ rewards }) => rewards),
      numGenerations: this.options.numGenerations,
      rewardWeights: this.#weights,
      rewardNames: this.#names,
      scaleRewards: this.options.scaleRewards,
      aggregation: this.options.aggregation,
    });
  }

  /** A round with the advantages of RLOO or REINFORCE++, if those are asked for. */
  async #reinforced(
    sampled: Rollout,
    rewards: Float64Array,
    { withReference }: RolloutRequest,
    metrics: MeanMetrics,
  ): Promise<Rollout> {
    const { reinforce, numGenerations } = this.options;
    if (reinforce === null) return sampled;
    const { kind, beta, clipRange, normalize } = reinforce;
    const rollout = beta === 0 ? sampled : await withReference!(sampled);
    const sequences = rollout.groups.flatMap(({ sequences }) => sequences);
    const divergences = beta === 0
      ? null
      : sequences.map((sequence) =>
        chosenPlaces(sequence).map((t) => sequence.logProbs[t] - sequence.refLogProbs![t])
      );
    if (divergences !== null) {
      metrics.add({ kl: average(divergences.flat()) }, divergences.flat().length);
    }
    const shared = { rewards, numGenerations, beta };
    if (kind === "leave_one_out") {
      const sums = divergences?.map((own) => own.reduce((sum, value) => sum + value, 0));
      const advantages = leaveOneOutAdvantages({
        ...shared,
        divergences: sums,
        clipRange,
        normalize,
      });
      return withAdvantages(rollout, (i) => ({ advantage: advantages[i] }));
    }
    const byToken = reinforcePlusPlusAdvantages({
      ...shared,
      lengths: sequences.map((sequence) => chosenPlaces(sequence).length),
      divergences,
      baseline: kind === "reinforce_plus_plus_baseline",
    });
    return withAdvantages(rollout, (i) => ({
      advantage: average(byToken[i]),
      tokenAdvantages: atChosenPlaces(sequences[i], byToken[i]),
    }));
  }

  #withSpread(groups: readonly ScoredGroup[]): ScoredGroup[] {
    const { rewards } = this.#advantages(groups);
    return groupsWithSpread(rewards, this.options.numGenerations).map((index) => groups[index]);
  }

  #report(
    { prompt, completions, rewards }: ScoredGroup,
    place: Pick<ReportedCompletion, "step" | "group">,
    earned: (g: number) => Pick<ReportedCompletion, "reward" | "advantage">,
  ): ReportedCompletion[] {
    const { columns, images, prompt: messages } = prompt.example;
    const answer = columns.answer ?? columns.solution ?? null;
    const shown = images.map(({ bytes }) => bytes);
    return completions.map(({ text, tokens, finishReason, episode }, g) => ({
      ...place,
      prompt: messages.at(-1)?.content ?? "",
      completion: episode === undefined ? text : episodeText(episode),
      rewards: Object.fromEntries(this.#names.map((name, f) => [name, rewards[g][f]])),
      ...earned(g),
      length: chosenCount({ tokens, episode }),
      finish_reason: finishReason,
      expected: answer === null ? null : String(answer),
      // Completions of one prompt share the array.
      pictures: episode?.pictures.length ? [...shown, ...episode.pictures] : shown,
    }));
  }
}

/** Values of the tokens that the model chose, at their places; 0 at the others. */
function atChosenPlaces(sequence: RolloutSequence, values: readonly number[]): number[] {
  const spread = new Array<number>(sequence.tokens.length).fill(0);
  chosenPlaces(sequence).forEach((t, i) => spread[t] = values[i]);
  return spread;
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);

/** A round with other advantages, `of` the n-th sequence. */
function withAdvantages(
  rollout: Rollout,
  of: (n: number) => Pick<RolloutSequence, "advantage" | "tokenAdvantages">,
): Rollout {
  let n = 0;
  return {
    ...rollout,
    groups: rollout.groups.map((group) => ({
      ...group,
      sequences: group.sequences.map((sequence) => ({ ...sequence, ...of(n++) })),
    })),
  };
}

/** TRL's metrics of lengths: tokens that the model chose; and those of an environment. */
export function lengthMetrics(
  completions: readonly Pick<Completion, "tokens" | "finishReason" | "episode">[],
): Record<string, number> {
  const describe = (lengths: readonly number[], name: string): Record<string, number> =>
    lengths.length === 0 ? {} : {
      [`completions/mean_${name}`]: lengths.reduce((sum, n) => sum + n, 0) / lengths.length,
      [`completions/min_${name}`]: Math.min(...lengths),
      [`completions/max_${name}`]: Math.max(...lengths),
    };
  const terminated = completions.filter(({ finishReason }) => finishReason !== "length");
  return {
    ...describe(completions.map(chosenCount), "length"),
    ...describe(terminated.map(chosenCount), "terminated_length"),
    "completions/clipped_ratio": 1 - terminated.length / Math.max(completions.length, 1),
    ...episodeMetrics(completions.flatMap(({ episode }) => episode ?? [])),
  };
}
