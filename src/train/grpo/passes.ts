/**
 * The model's passes over micro-batches of completions: the reference's log-probabilities, entropies, and
 * the gradient of a GRPO loss.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { turnEventLoop } from "../../device/event_loop.ts";
import { readBack } from "../../device/read_back.ts";
import { grpoLoss, type GRPOLossInputs, type GRPOLossOptions } from "../../losses/grpo.ts";
import type { WholeBatch } from "../../losses/grpo_losses.ts";
import { countTokens, labelledRows, type ModelBatch } from "../../model/batch.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import type { DropoutKeys } from "../../ops/activations.ts";
import { frozenFeatures } from "../loop/log_prob_gradients.ts";
import type { Parameters } from "../loop/gradients.ts";
import type { MeanMetrics } from "./mean_metrics.ts";
import {
  completionBatch,
  CompletionGrid,
  policyGradients,
  policyLogProbs,
  type PolicyPass,
  tokenEntropies,
} from "./policy.ts";
import type { ReferencePolicy } from "../loop/reference_policy.ts";
import type { Rollout, RolloutGroup } from "./rollout.ts";
import type { StepContext } from "../loop/training_method.ts";

// N sequences, T tokens of the longest completion

/** How completions go through the model. */
export interface GRPOPassOptions {
  /** Divides the logits. */
  readonly temperature: number;
  readonly maskTruncatedCompletions: boolean;
  readonly sharePrefix: boolean;
  readonly gradientCheckpointing: boolean;
}

/** Some groups of a round whose loss is computed together. */
export interface MicroBatch {
  readonly groups: readonly RolloutGroup[];
  readonly sampledAtStep: number;
  /** Whether the policy has not been updated since it sampled. */
  readonly onPolicy: boolean;
}

/** A micro-batch, prepared for the passes of the model. */
export interface PreparedMicroBatch extends MicroBatch {
  readonly grid: CompletionGrid;
  readonly dropoutKeys: DropoutKeys | undefined;
}

/** The loss and the sizes of one micro-batch. */
export interface MicroBatchOutcome {
  /** The caller's to free; null if no completion counts. */
  readonly loss: tf.Scalar | null;
  /** Sum of the entropies that an entropy bonus acts on; 0 without one. */
  readonly entropySum: number;
  /** Tokens that the model computed, padding not counted. */
  readonly tokens: number;
  /** Padding tokens that it computed as well. */
  readonly padding: number;
}

/** The bonus for entropy in a step's loss. */
export interface EntropyBonus {
  /** d loss / d entropy of a token that it acts on: −coefficient / tokens of the step. */
  readonly slope: number;
  /** It acts on tokens with at least this entropy. */
  readonly threshold: number;
}

/** A scalar and a number, in place of the scalar. */
function plus(scalar: tf.Scalar, number: number): tf.Scalar {
  const sum = tf.tidy(() => scalar.add<tf.Scalar>(number));
  scalar.dispose();
  return sum;
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
        try {
          const tensor = reference.run((options) =>
            policyLogProbs(this.model, { batch, options, features: undefined, temperature })
          );
          [values] = await readBack([tensor]) as [Float32Array];
          tensor.dispose();
        } finally {
          batch.dispose();
        }
      }
      const rows = grid.scatter(values); // [N, T]
      let n = 0;
      for (const { prompt, sequences } of own) {
        groups.push({
          prompt,
          sequences: sequences.map((sequence) => {
            const start = n++ * grid.tokens;
            const refLogProbs = Array.from(rows.subarray(start, start + sequence.tokens.length));
            return { ...sequence, refLogProbs };
          }),
        });
      }
    }
    return { ...rollout, groups };
  }

  /** Prepares a micro-batch for the passes of the model. */
  prepare(micro: MicroBatch, dropoutKeys: DropoutKeys | undefined): PreparedMicroBatch {
    const grid = new CompletionGrid(micro.groups, this.options.maskTruncatedCompletions);
    return { ...micro, grid, dropoutKeys };
  }

  #batch(groups: readonly RolloutGroup[]): ModelBatch | null {
    const { maskTruncatedCompletions: masksTruncated, sharePrefix } = this.options;
    return completionBatch(this.model, groups, { masksTruncated, sharePrefix });
  }

  #pass(
    batch: ModelBatch,
    { dropoutKeys }: PreparedMicroBatch,
    parameters: Parameters,
  ): PolicyPass {
    const options: PassOptions = {
      dropoutKeys,
      checkpointing: this.options.gradientCheckpointing,
    };
    const features = frozenFeatures(this.model, batch, parameters.keys());
    return { batch, options, features, temperature: this.options.temperature };
  }

  /** What a micro-batch's loss is computed from. */
  #inputs(
    { grid, onPolicy }: PreparedMicroBatch,
    values: ArrayLike<number>,
    entropies: Float64Array | null,
    { beta = 0 }: GRPOLossOptions,
  ): GRPOLossInputs {
    return {
      logProbs: grid.scatter(values),
      oldLogProbs: onPolicy ? null : grid.spread(({ logProbs }) => logProbs),
      refLogProbs: beta === 0 ? null : grid.spread(({ refLogProbs }) => refLogProbs!),
      completionMask: grid.mask,
      advantages: grid.sequences.map(({ advantage }) => advantage),
      tokenAdvantages: grid.sequences.some(({ tokenAdvantages }) => tokenAdvantages)
        ? grid.spread(({ tokenAdvantages, tokens, advantage }) =>
          tokenAdvantages ?? tokens.map(() => advantage)
        )
        : null,
      entropies,
    };
  }

  /**
   * Adds a micro-batch's gradients to a step's.
   *
   * @param loss with the sizes of the whole batch: a micro-batch does not know them
   * @param entropies of its tokens, [N, T], if the loss needs them
   */
  async addGradients(
    micro: PreparedMicroBatch,
    { parameters, accumulator, lossScale }: StepContext,
    loss: GRPOLossOptions & { readonly wholeBatch: WholeBatch },
    entropies: Float64Array | null,
    metrics: MeanMetrics,
    bonus: EntropyBonus | null = null,
  ): Promise<MicroBatchOutcome> {
    await turnEventLoop();
    const { grid } = micro;
    const batch = this.#batch(micro.groups);
    if (batch === null) return { loss: null, entropySum: 0, tokens: 0, padding: 0 };
    const started = performance.now();
    const pass = this.#pass(batch, micro, parameters);
    try {
      let found: Readonly<Record<string, number>> = {};
      const compute = (values: Float32Array) => {
        const result = grpoLoss(this.#inputs(micro, values, entropies, loss), loss);
        found = result.metrics;
        return { loss: result.loss, gradient: grid.gather(result.gradLogProbs) };
      };
      const byEntropy = bonus === null ? null : Float32Array.from(
        grid.places,
        (place) => entropies === null || entropies[place] >= bonus.threshold ? bonus.slope : 0,
      );
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
        byEntropy,
      );
      const passed = performance.now();
      const own = tokenEntropies(this.model, done.states, this.options.temperature);
      const values = (await readBack([own]))[0] as Float32Array; // [M]
      const entropy = values.reduce((sum, value) => sum + value, 0) / values.length;
      tf.dispose([own, done.states]);
      metrics.addSums({
        "time/backward": (passed - started) / 1000,
        "time/log_probs": (performance.now() - passed) / 1000,
      });
      const { kl = NaN, entropy: _, ...others } = found;
      metrics.add({ entropy, kl }, grid.places.length);
      metrics.add(others);
      const entropySum = this.#entropySum(micro, values, entropies, bonus);
      return {
        loss: bonus === null ? done.loss : plus(done.loss, bonus.slope * entropySum),
        entropySum,
        ...countTokens(batch),
      };
    } finally {
      batch.dispose();
      pass.features?.dispose();
    }
  }

  /** Sum of the entropies that a bonus acts on. */
  #entropySum(
    { grid }: PreparedMicroBatch,
    values: Float32Array,
    entropies: Float64Array | null,
    bonus: EntropyBonus | null,
  ): number {
    if (bonus === null) return 0;
    return grid.places.reduce(
      (sum, place, m) =>
        entropies === null || entropies[place] >= bonus.threshold ? sum + values[m] : sum,
      0,
    );
  }

  /** Entropies of a micro-batch's tokens, [N, T]; null if no completion counts. */
  async entropies(micro: PreparedMicroBatch, parameters: Parameters): Promise<Float64Array | null> {
    const batch = this.#batch(micro.groups);
    if (batch === null) return null;
    const pass = this.#pass(batch, micro, parameters);
    try {
      const tensor = tf.tidy(() => {
        const rows = labelledRows(batch.labels!);
        const hidden = this.model.hiddenStates(batch, pass.options, pass.features, rows);
        const states = hidden.reshape([rows.length, -1]) as tf.Tensor2D; // [M, C]
        return tokenEntropies(this.model, states, pass.temperature);
      });
      const [values] = await readBack([tensor]);
      tensor.dispose();
      return micro.grid.scatter(values);
    } finally {
      pass.features?.dispose();
      batch.dispose();
    }
  }
}
