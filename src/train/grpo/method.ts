/**
 * GRPO and its variants: completions are sampled, scored and compared within their group; those
 * better than their group's mean become likelier. The variants differ in the `grpo` options alone.
 *
 * A micro-batch is `batchSize` prompts with G completions each (NanoVLM-Lab counts prompts). An
 * optimizer step takes A = gradient_accumulation_steps micro-batches. A round of generation feeds
 * R = max(steps_per_generation, A) of them, num_iterations times. The policy does not change
 * within an optimizer step, so that rounds smaller than A would give the same.
 *
 * @module
 */
import { stepsOfPrompts } from "../loop/due_work.ts";
import type * as tf from "@tensorflow/tfjs";
import { currentRanks, ownerOf, type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import { countBatch, type GRPOLossOptions } from "../../losses/grpo.ts";
import { grpoLosses, type WholeBatch } from "../../losses/grpo_losses.ts";
import { highEntropyThreshold } from "../../losses/token_selection.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { DropoutKeys } from "../../ops/activations.ts";
import type { ReportedCompletion } from "../../report/files/report_file.ts";
import { RewardFailureError } from "../../rewards/reward_sandbox.ts";
import { BaseMethod, type BaseState } from "../loop/base_method.ts";
import type { Parameters } from "../loop/gradients.ts";
import { EntropyControl, type EntropyOptions, type EntropyState } from "./entropy_control.ts";
import type { GRPOEvaluator } from "./evaluation.ts";
import { MeanMetrics } from "./mean_metrics.ts";
import {
  GRPOPasses,
  type GRPOPassOptions,
  type MicroBatch,
  type PreparedMicroBatch,
} from "./passes.ts";
import type { GRPODataset, GRPOPromptStream } from "./prompt_stream.ts";
import { completionRows } from "./policy.ts";
import type { ReferencePolicy } from "../loop/reference_policy.ts";
import type { ReplayBuffer, StoredReplay } from "./replay_buffer.ts";
import {
  type PicturesOf,
  restoreRollout,
  type Rollout,
  type StoredRollout,
  storeRollout,
} from "./rollout.ts";
import type { RolloutMaker } from "./rollout_maker.ts";
import { shareEntropies, shareMetrics, shareReference } from "./shared_round.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  type MethodState,
  sizeOfRows,
  StepAborted,
  type StepContext,
  type StepOutcome,
} from "../loop/training_method.ts";

/** How GRPO batches and what it minimises. */
export interface GRPOMethodOptions extends GRPOPassOptions {
  /** Prompts of a micro-batch. */
  readonly batchSize: number;
  /** A */
  readonly gradientAccumulationSteps: number;
  /** R, micro-batches that a round of generation feeds. */
  readonly microBatchesPerRound: number;
  /** Times that a round is trained on. */
  readonly numIterations: number;
  /** The loss; `wholeBatch` is set for each step. */
  readonly loss: GRPOLossOptions;
  /**
   * As in SFT and DPO. The losses that divide by the tokens of the whole batch (dapo, cispo, vespo)
   * do so either way.
   */
  readonly lossReduction: "token" | "micro_batch";
  readonly disableDropout: boolean;
  readonly seed: number;
  readonly entropy: EntropyOptions;
}

/** What GRPO works with. */
export interface GRPOParts {
  readonly model: VisionLanguageModel;
  readonly dataset: GRPODataset;
  readonly prompts: GRPOPromptStream;
  readonly rollouts: Pick<RolloutMaker, "make">;
  /** Needed if the loss has a KL term. */
  readonly reference: ReferencePolicy | null;
  /** Stands in for groups whose rewards are all equal; null or absent: they stay. */
  readonly replay?: ReplayBuffer | null;
  readonly evaluator: GRPOEvaluator | null;
  /** Processes pictures of an environment again; needed if there is one. */
  readonly picturesOf?: PicturesOf;
  /** Called with all completions of a round. */
  readonly onCompletions?: (rows: readonly ReportedCompletion[]) => void;
}

/** A round that is being trained on. */
interface Buffer {
  readonly rollout: Rollout;
  /** Micro-batches taken out of it so far. */
  used: number;
}

/** A checkpoint's part. */
interface State extends BaseState {
  readonly sampled: number;
  /** Absent without an entropy bonus, and in checkpoints of earlier versions. */
  readonly entropy?: EntropyState;
  readonly buffer: { readonly used: number; readonly rollout: StoredRollout } | null;
  /** Absent without a replay buffer. */
  readonly replay?: StoredReplay;
}

/** GRPO on one data set. */
export class GRPOMethod extends BaseMethod<MicroBatch> {
  readonly name = "grpo";
  readonly #passes: GRPOPasses;
  #buffer: Buffer | null = null;
  /** The buffer of a checkpoint, until the first step reads it. */
  #stored: State["buffer"] = null;
  #sampled = 0;
  readonly #entropy: EntropyControl;
  #state: State;
  /** The evaluation of the present policy. */
  #evaluated: EvaluationOutcome | null = null;

  /** @param ranks which of several processes this is */
  constructor(
    readonly parts: GRPOParts,
    readonly options: GRPOMethodOptions,
    readonly ranks: Ranks = currentRanks(),
  ) {
    const { prompts, dataset, evaluator } = parts;
    super({
      examples: prompts,
      tiles: prompts.tiles,
      datasets: [dataset, evaluator?.parts.dataset ?? null],
      reference: parts.reference,
    });
    if ((options.loss.beta ?? 0) !== 0 && parts.reference === null) {
      throw new Error("Cannot train with a KL term: there is no reference policy");
    }
    this.#passes = new GRPOPasses(parts.model, options);
    this.#entropy = new EntropyControl(options.entropy);
    this.#state = { cursor: prompts.cursor, microSteps: 0, sampled: 0, buffer: null };
  }

  get stepsPerEpoch(): number | null {
    const { length } = this.parts.prompts;
    return length === null ? null : stepsOfPrompts(length, this.options);
  }

  async step(context: StepContext): Promise<StepOutcome> {
    const { parameters, step, signal } = context;
    const metrics = new MeanMetrics();
    const before = this.#state.cursor.epoch;
    this.#evaluated = null;
    this.lastBatches = [];
    try {
      const whole: MicroBatch[] = [];
      while (whole.length < this.options.gradientAccumulationSteps) {
        whole.push(await this.#nextMicroBatch(step, metrics, signal));
      }
      this.lastBatches = whole;
      const { disableDropout, seed } = this.options;
      const micro = whole.map((one) =>
        this.#passes.prepare(
          one,
          disableDropout ? undefined : new DropoutKeys(seed, this.microSteps++),
        )
      );
      const threshold = await this.#entropyThreshold(micro, parameters, metrics);
      const size = wholeBatch(micro);
      const losses: tf.Scalar[] = [];
      let tokens = 0, padding = 0, entropySum = 0;
      const bonusTokens = threshold?.count ?? size.tokens;
      const bonus = this.#entropy.enabled
        ? {
          slope: -this.#entropy.applied / Math.max(bonusTokens, 1),
          threshold: threshold?.value ?? -Infinity,
        }
        : null;
      const own = micro.filter((_, number) => this.#isOwn(number));
      context.accumulator.expect(own.length);
      for (const batch of own) {
        if (signal?.aborted) throw new StepAborted();
        const loss = {
          ...this.options.loss,
          wholeBatch: this.#divisor(batch, size, micro.length),
          entropyThreshold: threshold?.value,
        };
        const entropies = threshold?.entropies.get(batch) ?? null;
        const done = await this.#passes.addGradients(
          batch,
          context,
          loss,
          entropies,
          metrics,
          bonus,
        );
        entropySum += done.entropySum;
        if (done.loss !== null) losses.push(done.loss);
        tokens += done.tokens;
        padding += done.padding;
      }
      if (this.#entropy.enabled) {
        const [sum] = await sumNumbers(this.ranks, [entropySum], "the entropies of a step");
        this.#entropy.observe(sum / Math.max(bonusTokens, 1));
        metrics.add({ entropy_coef: this.#entropy.coefficient });
      }
      this.#commit();
      return {
        losses,
        tokens,
        padding,
        metrics: (await shareMetrics(this.ranks, metrics)).means(),
        epoch: this.parts.prompts.epoch,
        epochEnded: this.#state.cursor.epoch > before,
      };
    } catch (error) {
      // Nothing has changed but the buffer: restore how the last step left it.
      this.restore(this.state());
      throw error instanceof RewardFailureError ? new StepAborted({ cause: error }) : error;
    }
  }

  /** Whether this rank computes a micro-batch of a step, or a batch of groups of a round. */
  #isOwn(number: number): boolean {
    return ownerOf(number, this.ranks) === this.ranks.rank;
  }

  /** The next micro-batch of the round; a new round if that one is used up. */
  async #nextMicroBatch(
    step: number,
    metrics: MeanMetrics,
    signal: AbortSignal | undefined,
  ): Promise<MicroBatch> {
    const { batchSize, microBatchesPerRound, numIterations } = this.options;
    if (this.#stored !== null) {
      const { used, rollout } = this.#stored;
      const restored = await restoreRollout(
        rollout,
        (cursor) => this.parts.prompts.at(cursor),
        this.parts.picturesOf,
      );
      this.#buffer = { rollout: restored, used };
      this.#stored = null;
    }
    this.#buffer ??= { rollout: await this.#generate(step, metrics, signal), used: 0 };
    const { rollout, used } = this.#buffer;
    const first = (used % microBatchesPerRound) * batchSize;
    const groups = rollout.groups.slice(first, first + batchSize);
    if (++this.#buffer.used === microBatchesPerRound * numIterations) this.#buffer = null;
    const { sampledAtStep } = rollout;
    const onPolicy = groups.every((group) => (group.sampledAtStep ?? sampledAtStep) === step);
    return { groups, sampledAtStep, onPolicy };
  }

  async #generate(
    step: number,
    metrics: MeanMetrics,
    signal: AbortSignal | undefined,
  ): Promise<Rollout> {
    const { prompts, rollouts, reference, onCompletions } = this.parts;
    const withReference = (rollout: Rollout) =>
      reference === null ? Promise.resolve(rollout) : metrics.time(
        "time/log_probs",
        () => this.#withReference(rollout, reference),
      );
    const firstId = this.#sampled;
    const made = await rollouts.make({
      step,
      firstId,
      nextPrompt: () => prompts.next(),
      withReference,
      signal,
    });
    if (made === null) throw new StepAborted();
    this.#sampled += made.sampled;
    const { time, rest } = splitTimes(made.metrics);
    metrics.add(rest);
    metrics.addSums(time);
    onCompletions?.(made.completions);
    const { rollout } = made;
    const has = rollout.groups.every(({ sequences }) =>
      sequences.every(({ refLogProbs }) => refLogProbs !== null)
    );
    const whole = has ? rollout : await withReference(rollout);
    return await this.#replayed(whole, made.deviations, firstId, metrics);
  }

  /** A round with groups of the replay buffer in place of those that teach nothing. */
  async #replayed(
    rollout: Rollout,
    deviations: ArrayLike<number>,
    round: number,
    metrics: MeanMetrics,
  ): Promise<Rollout> {
    const { replay, prompts } = this.parts;
    if (!replay) return rollout;
    await replay.ready((cursor) => prompts.at(cursor), this.parts.picturesOf);
    const done = replay.replay(rollout, deviations, round);
    metrics.add({
      "replay_buffer/replaced_groups": done.replaced,
      "replay_buffer/size": replay.scores.length,
    });
    return done.rollout;
  }

  /** Adds the reference's log-probabilities; each rank computes some groups. */
  async #withReference(rollout: Rollout, reference: ReferencePolicy): Promise<Rollout> {
    const { batchSize } = this.options;
    if (this.ranks.size === 1) {
      return await this.#passes.withReference(rollout, reference, batchSize);
    }
    const numbers = rollout.groups.map((_, number) => number)
      .filter((number) => this.#isOwn(Math.floor(number / batchSize)));
    const groups = numbers.map((number) => rollout.groups[number]);
    const done = await this.#passes.withReference({ ...rollout, groups }, reference, batchSize);
    const own = new Map(done.groups.map((group, i) => [numbers[i], group]));
    return { ...rollout, groups: await shareReference(this.ranks, rollout.groups, own) };
  }

  /** The entropy from which on a token counts in the loss, unless all count. */
  async #entropyThreshold(
    micro: readonly PreparedMicroBatch[],
    parameters: Parameters,
    metrics: MeanMetrics,
  ): Promise<
    {
      value: number;
      /** Tokens that count. */
      count: number;
      entropies: Map<PreparedMicroBatch, Float64Array>;
    } | null
  > {
    const share = this.options.loss.topEntropyQuantile ?? 1;
    if (share >= 1) return null;
    const own = new Map<number, Float64Array>();
    await metrics.time("time/log_probs", async () => {
      for (const [number, one] of micro.entries()) {
        if (!this.#isOwn(number)) continue;
        const values = await this.#passes.entropies(one, parameters);
        if (values !== null) own.set(number, values);
      }
    });
    const shared = await shareEntropies(this.ranks, own);
    const entropies = new Map([...shared].map(([number, values]) => [micro[number], values]));
    const all = [...entropies.values()].flatMap((values) => Array.from(values));
    const mask = [...entropies.keys()].flatMap(({ grid }) => Array.from(grid.mask));
    const value = highEntropyThreshold(all, mask, share);
    const count = all.filter((entropy, i) => mask[i] !== 0 && entropy >= value).length;
    return { value, count, entropies };
  }

  /** What a micro-batch's loss divides by. */
  #divisor({ grid }: PreparedMicroBatch, whole: WholeBatch, count: number): WholeBatch {
    const { lossReduction, loss: { lossType } } = this.options;
    if (lossReduction === "token" || grpoLosses[lossType].dividesOnce) return whole;
    const own = countBatch(grid.mask, grid.sequences.length);
    return { sequences: own.sequences * count, tokens: own.tokens * count };
  }

  /** The same policy is evaluated once, however often it is asked for. */
  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    this.#evaluated ??= await this.parts.evaluator?.evaluate(signal) ?? null;
    return this.#evaluated;
  }

  protected sizeOf({ groups }: MicroBatch): BatchSize {
    const { maskTruncatedCompletions: masksTruncated, sharePrefix } = this.options;
    return sizeOfRows(completionRows(this.parts.model, groups, { masksTruncated, sharePrefix }));
  }

  protected describe({ groups, sampledAtStep }: MicroBatch): unknown {
    return {
      sampledAtStep,
      groups: groups.map(({ prompt, sequences, ...replayed }) => ({
        ...replayed,
        cursor: prompt.cursor,
        promptIds: prompt.ids,
        tiles: prompt.images.map(({ tileCount }) => tileCount),
        sequences: sequences.map(({ pictures, ...sequence }) => ({
          ...sequence,
          ...(pictures ? { pictureTiles: pictures.map(({ image }) => image.tileCount) } : {}),
        })),
      })),
    };
  }

  /** Keeps the state after the step, for checkpoints and for a later step that fails. */
  #commit(): void {
    this.#state = {
      cursor: this.parts.prompts.cursor,
      microSteps: this.microSteps,
      sampled: this.#sampled,
      ...(this.#entropy.enabled ? { entropy: this.#entropy.state } : {}),
      buffer: this.#buffer === null
        ? null
        : { used: this.#buffer.used, rollout: storeRollout(this.#buffer.rollout) },
      ...(this.parts.replay ? { replay: this.parts.replay.state() } : {}),
    };
  }

  override state(): MethodState {
    return { ...this.#state };
  }

  override restore(state: MethodState, exact = true): void {
    super.restore(state);
    const { cursor, microSteps, sampled, buffer: round, entropy, ...own } =
      state as unknown as State;
    // A round that was sampled from other prompts, or is split otherwise, cannot be finished.
    const buffer = exact ? round : null;
    const replay = exact ? own.replay ?? [] : [];
    this.parts.replay?.restore(replay);
    this.#sampled = sampled;
    this.#buffer = null;
    this.#evaluated = null;
    this.#stored = buffer;
    if (entropy !== undefined) this.#entropy.restore(entropy);
    this.#state = {
      ...{ cursor, microSteps, sampled, buffer },
      ...(entropy ? { entropy } : {}),
      ...(this.parts.replay ? { replay } : {}),
    };
  }
}

/** Sizes of everything that one optimizer step averages over. */
function wholeBatch(micro: readonly PreparedMicroBatch[]): WholeBatch {
  const sizes = micro.map(({ grid }) => countBatch(grid.mask, grid.sequences.length));
  return {
    sequences: sizes.reduce((sum, { sequences }) => sum + sequences, 0),
    tokens: sizes.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}

/** Times are added up over a step, everything else is averaged. */
function splitTimes(metrics: Readonly<Record<string, number>>) {
  const entries = Object.entries(metrics);
  return {
    time: Object.fromEntries(entries.filter(([name]) => name.startsWith("time/"))),
    rest: Object.fromEntries(entries.filter(([name]) => !name.startsWith("time/"))),
  };
}
