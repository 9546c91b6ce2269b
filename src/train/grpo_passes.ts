/**
 * Micro-batches of completions through the model: the reference's log-probabilities, entropies, and
 * the gradient of a GRPO loss.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { turnEventLoop } from "../device/event_loop.ts";
import { readBack } from "../device/read_back.ts";
import { type GrpoInputs, grpoLoss, type GrpoOptions } from "../losses/grpo.ts";
import type { WholeBatch } from "../losses/grpo_normaliser.ts";
import { labelledRows, type ModelBatch } from "../model/batch.ts";
import type { PassOptions, VisionLanguageModel } from "../model/vision_language_model.ts";
import type { DropoutKeys } from "../ops/dropout.ts";
import { frozenFeatures } from "./frozen_features.ts";
import type { Parameters } from "./gradients.ts";
import type { MeanMetrics } from "./grpo_mean_metrics.ts";
import {
  completionBatch,
  CompletionGrid,
  policyGradients,
  policyLogProbs,
  type PolicyPass,
  tokenEntropies,
} from "./grpo_policy.ts";
import type { ReferencePolicy } from "./grpo_reference.ts";
import type { Rollout, RolloutGroup } from "./grpo_rollout.ts";
import { likeLengthParts, paddingOf, partCost } from "./like_lengths.ts";
import type { StepContext } from "./training_method.ts";

// N sequences, T tokens of the longest completion

/** How completions go through the model. */
export interface GRPOPassOptions {
  /** Divides the logits. */
  readonly temperature: number;
  readonly maskTruncatedCompletions: boolean;
  readonly sharePrefix: boolean;
  readonly gradientCheckpointing: boolean;
  readonly padTokenId: number;
}

/** Some groups of a round that a loss looks at together. */
export interface MicroBatch {
  readonly groups: readonly RolloutGroup[];
  readonly sampledAtStep: number;
  /** The policy has not moved since it sampled. */
  readonly onPolicy: boolean;
}

/** Groups of a micro-batch that go through the model together. */
export interface Part {
  readonly groups: readonly RolloutGroup[];
  readonly grid: CompletionGrid;
  readonly dropoutKeys: DropoutKeys | undefined;
}

/** A micro-batch in parts of like length; its grid has the completions in the parts' order. */
export interface CutMicroBatch extends MicroBatch {
  readonly grid: CompletionGrid;
  readonly parts: readonly Part[];
}

/** What one micro-batch adds to a step beside its gradients. */
export interface MicroBatchOutcome {
  /** Their sum is its loss; the caller's to free. */
  readonly losses: tf.Scalar[];
  /** Tokens that went through the model, padding not counted. */
  readonly tokens: number;
  /** Padding tokens that went through it beside them. */
  readonly padding: number;
}

/** The model's passes of GRPO. */
export class GRPOPasses {
  constructor(readonly model: VisionLanguageModel, readonly options: GRPOPassOptions) {}

  /**
   * Adds the reference's log-probabilities to a round.
   *
   * @param batchSize groups of a pass
   */
  async withReference(
    rollout: Rollout,
    reference: ReferencePolicy,
    batchSize: number,
  ): Promise<Rollout> {
    const { temperature } = this.options;
    const groups: RolloutGroup[] = [];
    for (let first = 0; first < rollout.groups.length; first += batchSize) {
      const own = rollout.groups.slice(first, first + batchSize);
      for (const part of this.#likeLengths(own, 0)) {
        const some = part.map((group) => own[group]);
        const grid = new CompletionGrid(some, this.options.maskTruncatedCompletions);
        const batch = this.#batch(some);
        let values: ArrayLike<number> = [];
        if (batch !== null) {
          const tensor = reference.run((options) =>
            policyLogProbs(this.model, { batch, options, features: undefined, temperature })
          );
          [values] = await readBack([tensor]) as [Float32Array];
          tensor.dispose();
          batch.dispose();
        }
        const rows = grid.scatter(values); // [N, T]
        let n = 0;
        some.forEach(({ prompt, sequences }, i) => {
          groups[first + part[i]] = {
            prompt,
            sequences: sequences.map((sequence) => {
              const start = n++ * grid.tokens;
              const refLogProbs = Array.from(rows.subarray(start, start + sequence.tokens.length));
              return { ...sequence, refLogProbs };
            }),
          };
        });
      }
    }
    return { ...rollout, groups };
  }

  /** Numbers of groups, part by part; a group stays whole. */
  #likeLengths(groups: readonly RolloutGroup[], trained: number): number[][] {
    const { sharePrefix } = this.options;
    const lengths = groups.map(({ prompt, sequences }) => {
      const completions = sequences.map(({ tokens }) => tokens.length);
      return sharePrefix
        ? completions.reduce((sum, length) => sum + length, prompt.ids.length)
        : completions.length * (prompt.ids.length + Math.max(...completions));
    });
    return likeLengthParts(lengths, partCost(trained, this.model.config));
  }

  /**
   * Cuts a micro-batch into parts of like length. A part pads to its own longest row; losses and
   * gradients of the parts add up to those of the micro-batch.
   *
   * @param trained numbers that train
   * @param dropoutKeys makes those of the next part
   */
  cut(
    micro: MicroBatch,
    trained: number,
    dropoutKeys: () => DropoutKeys | undefined,
  ): CutMicroBatch {
    const { maskTruncatedCompletions } = this.options;
    const parts = this.#likeLengths(micro.groups, trained).map((numbers): Part => {
      const groups = numbers.map((group) => micro.groups[group]);
      const grid = new CompletionGrid(groups, maskTruncatedCompletions);
      return { groups, grid, dropoutKeys: dropoutKeys() };
    });
    const groups = parts.flatMap(({ groups }) => groups);
    return { ...micro, groups, grid: new CompletionGrid(groups, maskTruncatedCompletions), parts };
  }

  #batch(groups: readonly RolloutGroup[]): ModelBatch | null {
    const { maskTruncatedCompletions, sharePrefix, padTokenId } = this.options;
    return completionBatch(this.model, groups, {
      masksTruncated: maskTruncatedCompletions,
      sharePrefix,
      padTokenId,
    });
  }

  #pass(batch: ModelBatch, part: Part, parameters: Parameters): PolicyPass {
    const options: PassOptions = {
      dropoutKeys: part.dropoutKeys,
      checkpointing: this.options.gradientCheckpointing,
    };
    const features = frozenFeatures(this.model, batch, parameters.keys());
    return { batch, options, features, temperature: this.options.temperature };
  }

  /** What the loss of a grid is computed from. */
  #inputs(
    grid: CompletionGrid,
    values: ArrayLike<number>,
    entropies: Float64Array | null,
    { onPolicy }: MicroBatch,
    { beta = 0 }: GrpoOptions,
  ): GrpoInputs {
    return {
      logProbs: grid.scatter(values),
      oldLogProbs: onPolicy ? null : grid.spread(({ logProbs }) => logProbs),
      refLogProbs: beta === 0 ? null : grid.spread(({ refLogProbs }) => refLogProbs!),
      completionMask: grid.mask,
      advantages: grid.sequences.map(({ advantage }) => advantage),
      entropies,
    };
  }

  /**
   * Adds a micro-batch's gradients to a step's.
   *
   * @param loss with the sizes of the whole batch: a part does not know them
   * @param entropies of the parts' tokens, [N, T], where the loss needs them
   */
  async goBack(
    micro: CutMicroBatch,
    { parameters, accumulator, lossScale }: StepContext,
    loss: GrpoOptions & { readonly wholeBatch: WholeBatch },
    entropies: ReadonlyMap<Part, Float64Array> | null,
    metrics: MeanMetrics,
  ): Promise<MicroBatchOutcome> {
    const losses: tf.Scalar[] = [];
    // Of the micro-batch's tokens that count, in the order of its grid.
    const logProbs: number[] = [], knownEntropies: number[] = [];
    let tokens = 0, padding = 0;
    for (const part of micro.parts) {
      await turnEventLoop();
      const batch = this.#batch(part.groups);
      if (batch === null) continue;
      const started = performance.now();
      const { grid } = part;
      const known = entropies?.get(part) ?? null;
      if (known !== null) { for (const value of grid.gather(known)) knownEntropies.push(value); }
      let values: ArrayLike<number> = [];
      const compute = (given: Float32Array) => {
        values = given;
        const result = grpoLoss(this.#inputs(grid, given, known, micro, loss), loss);
        return { loss: result.loss, gradient: grid.gather(result.gradLogProbs) };
      };
      const pass = this.#pass(batch, part, parameters);
      const fixed = micro.onPolicy && (loss.beta ?? 0) === 0
        ? grid.gather(grid.spread(({ logProbs }) => logProbs))
        : null;
      const done = await policyGradients(
        this.model,
        pass,
        parameters,
        compute,
        fixed,
        accumulator,
        lossScale,
      );
      for (let m = 0; m < values.length; m++) logProbs.push(values[m]);
      losses.push(done.loss);
      const passed = performance.now();
      const own = tokenEntropies(this.model, done.states, this.options.temperature);
      const mean = tf.tidy(() => own.mean());
      const [[entropy]] = await readBack([mean]);
      tf.dispose([mean, own, done.states]);
      metrics.addSums({
        "time/backward": (passed - started) / 1000,
        "time/log_probs": (performance.now() - passed) / 1000,
      });
      metrics.add({ entropy }, grid.places.length);
      const padded = paddingOf(batch);
      padding += padded;
      tokens += batch.tokens * batch.batchSize - padded;
      batch.dispose();
      pass.features?.dispose();
    }
    if (logProbs.length > 0) {
      const known = entropies && micro.grid.scatter(knownEntropies);
      const inputs = this.#inputs(micro.grid, logProbs, known, micro, loss);
      const { kl = NaN, entropy: _, ...others } = grpoLoss(inputs, loss).metrics;
      metrics.add({ kl }, micro.grid.places.length);
      metrics.add(others);
    }
    return { losses, tokens, padding };
  }

  /** Entropies of a part's tokens, [N, T]; null where no completion counts. */
  async entropies(part: Part, parameters: Parameters): Promise<Float64Array | null> {
    const batch = this.#batch(part.groups);
    if (batch === null) return null;
    const pass = this.#pass(batch, part, parameters);
    const tensor = tf.tidy(() => {
      const rows = labelledRows(batch.labels!);
      const hidden = this.model.hiddenStates(batch, pass.options, pass.features, rows);
      const states = hidden.reshape([rows.length, -1]) as tf.Tensor2D; // [M, C]
      return tokenEntropies(this.model, states, pass.temperature);
    });
    const [values] = await readBack([tensor]);
    tensor.dispose();
    pass.features?.dispose();
    batch.dispose();
    return part.grid.scatter(values);
  }
}
