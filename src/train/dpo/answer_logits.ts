/**
 * TRL's `logits/chosen` and `logits/rejected`: the policy's logits, averaged over the vocabulary and
 * the tokens of the chosen and of the rejected answers.
 *
 * mean_v (h Wᵀ)_v = h · mean_v W_v: a product with one row is enough, and no logits are computed.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { valueAndGradients } from "../../ops/tape/backward.ts";
import { linear } from "../../ops/linear.ts";
import type { Weight } from "../../ops/half/packed_weight.ts";
import { type DPOPair, sumPairs } from "./examples.ts";

// M labelled tokens, C channels, V vocabulary

/** The mean of the rows of the head, [1, C]: the gradient of the mean logit by the state. */
function meanRow(head: Weight, channels: number): tf.Tensor2D {
  const start = tf.zeros([1, channels]);
  const meanLogit = () => linear(start, head).mean() as tf.Scalar;
  const { value, gradients } = valueAndGradients(meanLogit, [start]);
  tf.dispose([value, start]);
  return gradients[0] as tf.Tensor2D;
}

/** Mean logits of chosen and rejected answers under one policy. */
export class AnswerLogits implements Disposable {
  readonly #meanRow: tf.Tensor2D;
  #chosen = 0;
  #rejected = 0;
  #chosenTokens = 0;
  #rejectedTokens = 0;

  /** @param model with the weights that it has for as long as this is used */
  constructor({ head, config }: VisionLanguageModel) {
    this.#meanRow = meanRow(head, config.lm_hidden_dim);
  }

  /**
   * The mean logit of each token.
   *
   * @param states of the labelled tokens, after the final norm, [M, C]
   * @returns [M], on the device
   */
  means(states: tf.Tensor2D): tf.Tensor1D {
    return tf.tidy(() => states.matMul(this.#meanRow, false, true).reshape([-1]) as tf.Tensor1D);
  }

  /**
   * Counts a batch.
   *
   * @param pairs in the order of the batch
   * @param means of its labels' tokens, [M]
   */
  add(pairs: readonly DPOPair[], means: ArrayLike<number>): void {
    const { chosen, rejected } = sumPairs(pairs, means);
    pairs.forEach(({ chosenLength, rejectedLength }, i) => {
      this.#chosen += chosen[i];
      this.#rejected += rejected[i];
      this.#chosenTokens += chosenLength;
      this.#rejectedTokens += rejectedLength;
    });
  }

  /** Adds what the other ranks counted. */
  async share(ranks: Ranks): Promise<void> {
    const own = [this.#chosen, this.#rejected, this.#chosenTokens, this.#rejectedTokens];
    [this.#chosen, this.#rejected, this.#chosenTokens, this.#rejectedTokens] = await sumNumbers(
      ranks,
      own,
      "the logits of a step",
    );
  }

  /** What was counted; every answer has a token. */
  get metrics(): { readonly "logits/chosen": number; readonly "logits/rejected": number } {
    return {
      "logits/chosen": this.#chosen / this.#chosenTokens,
      "logits/rejected": this.#rejected / this.#rejectedTokens,
    };
  }

  [Symbol.dispose](): void {
    this.#meanRow.dispose();
  }
}
