/**
 * Micro-batches of completions through the model: the reference's log-probabilities, entropies, and
 * the gradient of a GRPO loss.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import { grpoLoss, type GrpoOptions } from "../losses/grpo.ts";
import type { ModelBatch } from "../model/batch.ts";
import type { PassOptions, VisionLanguageModel } from "../model/vision_language_model.ts";
import type { DropoutKeys } from "../ops/dropout.ts";
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
import { paddingOf } from "./like_lengths.ts";

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

/** Some groups of a round, for one pass. */
export interface MicroBatch {
  readonly groups: readonly RolloutGroup[];
  readonly grid: CompletionGrid;
  readonly sampledAtStep: number;
  /** The policy has not moved since it sampled. */
  readonly onPolicy: boolean;
  readonly dropoutKeys: DropoutKeys | undefined;
}

/** What one micro-batch adds to a step; loss and gradients are the caller's to free. */
export interface MicroBatchGradients {
  readonly loss: tf.Scalar;
  readonly gradients: Map<string, tf.Tensor>;
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
      const grid = new CompletionGrid(own, this.options.maskTruncatedCompletions);
      const batch = this.#batch(own);
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
      groups.push(...own.map(({ prompt, sequences }) => ({
        prompt,
        sequences: sequences.map((sequence) => {
          const start = n++ * grid.tokens;
          const refLogProbs = Array.from(rows.subarray(start, start + sequence.tokens.length));
          return { ...sequence, refLogProbs };
        }),
      })));
    }
    return { ...rollout, groups };
  }

  #batch(groups: readonly RolloutGroup[]): ModelBatch | null {
    const { maskTruncatedCompletions, sharePrefix, padTokenId } = this.options;
    return completionBatch(this.model, groups, {
      masksTruncated: maskTruncatedCompletions,
      sharePrefix,
      padTokenId,
    });
  }

  #pass(batch: ModelBatch, micro: MicroBatch, parameters: Parameters): PolicyPass {
    const options: PassOptions = {
      dropoutKeys: micro.dropoutKeys,
      checkpointing: this.options.gradientCheckpointing,
    };
    // Features from outside the tape where nothing of the vision encoder trains.
    const trains = [...parameters.keys()].some((name) => name.includes("vision_encoder."));
    const { images } = batch;
    const features = images === null || trains
      ? undefined
      : tf.tidy(() => this.model.imageFeatures(images));
    return { batch, options, features, temperature: this.options.temperature };
  }

  /** What one micro-batch adds to the gradient; null where no completion counts. */
  async goBack(
    micro: MicroBatch,
    parameters: Parameters,
    loss: GrpoOptions,
    knownEntropies: Float64Array | null,
    metrics: MeanMetrics,
    lossScale?: number,
  ): Promise<MicroBatchGradients | null> {
    const { grid } = micro;
    const batch = this.#batch(micro.groups);
    if (batch === null) return null;
    const started = performance.now();
    const sampled = grid.spread(({ logProbs }) => logProbs);
    const beta = loss.beta ?? 0;
    let lossMetrics: Record<string, number> = {};
    const compute = (logProbs: Float32Array) => {
      const result = grpoLoss({
        logProbs: grid.scatter(logProbs),
        oldLogProbs: micro.onPolicy ? null : sampled,
        refLogProbs: beta === 0 ? null : grid.spread(({ refLogProbs }) => refLogProbs!),
        completionMask: grid.mask,
        advantages: grid.sequences.map(({ advantage }) => advantage),
        entropies: knownEntropies,
      }, loss);
      lossMetrics = result.metrics;
      return { loss: result.loss, gradient: grid.gather(result.gradLogProbs) };
    };
    const pass = this.#pass(batch, micro, parameters);
    const fixed = micro.onPolicy && beta === 0 ? grid.gather(sampled) : null;
    const done = await policyGradients(this.model, pass, parameters, compute, fixed, lossScale);
    const passed = performance.now();
    const entropies = tokenEntropies(this.model, done.hidden, pass);
    const mean = tf.tidy(() => entropies.mean());
    const [[entropy]] = await readBack([mean]);
    tf.dispose([mean, entropies, done.hidden]);
    metrics.addSums({
      "time/backward": (passed - started) / 1000,
      "time/log_probs": (performance.now() - passed) / 1000,
    });
    const { kl, ...others } = lossMetrics;
    metrics.add({ kl: kl ?? NaN, entropy }, grid.places.length);
    metrics.add(others);
    const padding = paddingOf(batch);
    const tokens = batch.tokens * batch.batchSize - padding;
    batch.dispose();
    pass.features?.dispose();
    return { loss: done.loss, gradients: done.gradients, tokens, padding };
  }

  /** Entropies of a micro-batch's tokens, [N, T]; null where no completion counts. */
  async entropies(micro: MicroBatch, parameters: Parameters): Promise<Float64Array | null> {
    const batch = this.#batch(micro.groups);
    if (batch === null) return null;
    const pass = this.#pass(batch, micro, parameters);
    const tensor = tf.tidy(() =>
      tokenEntropies(
        this.model,
        this.model.hiddenStates(batch, pass.options, pass.features),
        pass,
      )
    );
    const [values] = await readBack([tensor]);
    tensor.dispose();
    pass.features?.dispose();
    batch.dispose();
    return micro.grid.scatter(values);
  }
}
