/**
 * The losses of `sft.loss_type`: what an answer token costs, as a function of its log-probability.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { SFTSection } from "../../config/types/config_types.ts";
import { withGradient } from "../../ops/tape/with_gradient.ts";

// M labelled tokens

/** The loss of each token, [M] → [M]. */
export type TokenLosses = (logProbs: tf.Tensor1D) => tf.Tensor1D;

/**
 * −p log p with p held constant, so that the gradient by log p is −p: Wu et al., "On the
 * Generalization of SFT" (Dynamic Fine-Tuning), arXiv 2508.05629, eq. 9.
 */
function dft(logProbs: tf.Tensor1D): tf.Tensor1D {
  return withGradient([logProbs], (save) => {
    save([logProbs]);
    return {
      value: logProbs.mul(logProbs.exp()).neg(),
      gradient: (dy, [logProbs]) => [dy.mul(logProbs.exp()).neg()],
    };
  });
}

/** The losses by name. */
export const tokenLosses: Readonly<Record<SFTSection["loss_type"], TokenLosses>> = {
  nll: (logProbs) => logProbs.neg(),
  dft,
};
