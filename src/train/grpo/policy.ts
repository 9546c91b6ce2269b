/**
 * The model's passes over groups of completions: log-probabilities, entropies, and the gradient of a loss
 * that is known as a function of log-probabilities on the host.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import type { ModelBatch } from "../../model/batch.ts";
import { joinRows, type PackedRow, packRows, type Sequence } from "../../model/branches.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import type { GradientAccumulator, Parameters } from "../loop/gradients.ts";
import { LabelledStates, logProbGradients } from "../loop/log_prob_gradients.ts";
import { chosenPlaces, type RolloutGroup, type RolloutSequence } from "./rollout.ts";

// N sequences, T tokens of the longest completion, M tokens that count, C channels, V vocabulary

/**
 * Completions as a rectangle of tokens, padded on the right. Tokens of an environment's replies do not
 * count.
 */
export class CompletionGrid {
  readonly sequences: readonly RolloutSequence[];
  /** Tokens of the longest completion, T. */
  readonly tokens: number;
  /** 1 for tokens that count, [N, T]. */
  readonly mask: Uint8Array;
  /** Where in [N, T] each token that counts lies, [M]. */
  readonly places: Int32Array;

  /** @param masksTruncated whether completions without an end token are left out */
  constructor(groups: readonly RolloutGroup[], masksTruncated: boolean) {
    this.sequences = groups.flatMap(({ sequences }) => sequences);
    const T = Math.max(1, ...this.sequences.map(({ tokens }) => tokens.length));
    this.tokens = T;
    this.mask = new Uint8Array(this.sequences.length * T);
    this.sequences.forEach((sequence, i) => {
      if (sequence.truncated && masksTruncated) return;
      for (const t of chosenPlaces(sequence)) this.mask[i * T + t] = 1;
    });
    this.places = Int32Array.from(
      Array.from(this.mask.keys()).filter((place) => this.mask[place] === 1),
    );
  }

  /** Values of the tokens that count → [N, T], 0 in all other places. */
  scatter(values: ArrayLike<number>): Float64Array {
    const grid = new Float64Array(this.mask.length);
    this.places.forEach((place, m) => grid[place] = values[m]);
    return grid;
  }

  /** [N, T] → values of the tokens that count. */
  gather(grid: ArrayLike<number>): Float32Array {
    return Float32Array.from(this.places, (place) => grid[place]);
  }

  /** One list of values a sequence → [N, T], 0 in all other places. */
  spread(of: (sequence: RolloutSequence) => readonly number[]): Float64Array {
    const grid = new Float64Array(this.mask.length);
    this.sequences.forEach((sequence, i) => grid.set(of(sequence), i * this.tokens));
    return grid;
  }
}

/** How completions are put into rows. */
export interface CompletionRowOptions {
  /** Whether completions without an end token are left out. */
  readonly masksTruncated: boolean;
  /** Whether a prompt is computed once for all of its completions. */
  readonly sharePrefix: boolean;
}

/** The rows of some groups: labels on the tokens of completions that count, in the grid's order. */
export function completionRows(
  model: VisionLanguageModel,
  groups: readonly RolloutGroup[],
  { masksTruncated, sharePrefix }: CompletionRowOptions,
): PackedRow[] {
  return groups.flatMap(({ prompt, sequences }): PackedRow[] => {
    const counted = sequences.filter(({ truncated }) => !(truncated && masksTruncated));
    const branches = counted.map(({ tokens, chosen, pictures }): Sequence => ({
      // Nothing is predicted from the last token.
      inputIds: [...prompt.ids, ...tokens.slice(0, -1)],
      labels: [
        ...new Array<number>(prompt.ids.length - 1).fill(IGNORED_LABEL),
        ...tokens.map((token, t) => chosen && !chosen[t] ? IGNORED_LABEL : token),
      ],
      ownImages: pictures?.map(({ image }) => image),
    }));
    if (branches.length === 0) return [];
    return packRows(branches, prompt.images, sharePrefix, model.imageTokenId);
  });
}

/**
 * The batch of some groups, of {@linkcode completionRows}.
 *
 * @returns null if no completion counts
 */
export function completionBatch(
  model: VisionLanguageModel,
  groups: readonly RolloutGroup[],
  options: CompletionRowOptions,
): ModelBatch | null {
  const rows = completionRows(model, groups, options);
  return rows.length === 0 ? null : joinRows(rows, model.config);
}

/** The inputs of a pass over a batch. */
export interface PolicyPass {
  readonly batch: ModelBatch;
  readonly options: PassOptions;
  /** Of the batch's images, if the vision encoder has run already. */
  readonly features: tf.Tensor | undefined;
  /** Divides the logits. */
  readonly temperature: number;
}

/** Log-probabilities of the tokens that count, on the device, [M]; no gradient. */
export function policyLogProbs(model: VisionLanguageModel, pass: PolicyPass): tf.Tensor1D {
  return tf.tidy(() =>
    model.labelLogProbs(pass.batch, pass.options, pass.features, pass.temperature)!
  );
}

/**
 * Entropies of the distributions that tokens come from, in nats.
 *
 * @param states [M, C], after the final norm
 * @param temperature divides the logits
 * @returns [M]
 */
export function tokenEntropies(
  model: VisionLanguageModel,
  states: tf.Tensor2D,
  temperature: number,
): tf.Tensor1D {
  return model.entropies(states, temperature);
}

/** A loss of log-probabilities and its gradient, both on the host. */
export interface HostLoss {
  readonly loss: number;
  /** [M] */
  readonly gradient: Float32Array;
}

/** What a backward pass returns beside gradients; everything is the caller's to free. */
export interface PolicyOutcome {
  readonly loss: tf.Scalar;
  /** Of the tokens that count, after the final norm, [M, C]. */
  readonly states: tf.Tensor2D;
}

/**
 * Loss of a batch; its gradients are added to those of the step.
 *
 * If values can be read synchronously (wasm, cpu), one forward pass is enough. On WebGPU the
 * log-probabilities come from a forward pass of their own, unless the gradient does not depend on
 * their values.
 *
 * @param compute the loss out of the log-probabilities, [M]
 * @param logProbs where the loss's gradient does not depend on their exact values: those known
 *   already, which save that pass; else null
 * @param accumulator takes the gradients
 * @param lossScale multiplied into the gradients (fp16)
 * @param byEntropy d loss / d entropy of each token, [M]; null: the loss has no term of it
 */
export async function policyGradients(
  model: VisionLanguageModel,
  pass: PolicyPass,
  parameters: Parameters,
  compute: (logProbs: Float32Array) => HostLoss,
  logProbs: Float32Array | null,
  accumulator: GradientAccumulator,
  lossScale = 1,
  byEntropy: Float32Array | null = null,
): Promise<PolicyOutcome> {
  const kept = new LabelledStates();
  let onTape: tf.Tensor2D | null = null;
  const options: PassOptions = {
    ...pass.options,
    observeLabelled(states) {
      onTape = states;
      kept.observe(states);
    },
  };
  const entropyTerm = byEntropy === null
    ? undefined
    : () =>
      model.entropyTerms(onTape!, pass.temperature, pass.options)
        .mul(tf.tensor1d(byEntropy)).sum<tf.Scalar>();
  const run = () => model.labelLogProbs(pass.batch, options, pass.features, pass.temperature)!; // [M]
  let loss = NaN;
  const byLogProbs = (values: Float32Array) => {
    const result = compute(values);
    loss = result.loss;
    return result.gradient;
  };
  try {
    if (logProbs !== null && tf.getBackend() === "webgpu") {
      const weights = byLogProbs(logProbs);
      const weightedLoss = () => {
        const sum = run().mul(tf.tensor1d(weights)).sum<tf.Scalar>();
        return entropyTerm === undefined ? sum : sum.add<tf.Scalar>(entropyTerm());
      };
      (await accumulator.addLoss(weightedLoss, parameters, lossScale)).dispose();
    } else {
      await logProbGradients(
        run,
        byLogProbs,
        parameters,
        accumulator,
        lossScale,
        entropyTerm,
      );
    }
    return { loss: tf.scalar(loss), states: kept.take() };
  } finally {
    kept.dispose();
  }
}
