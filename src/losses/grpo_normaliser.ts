/**
 * What each loss type divides by. The divisors are those of the whole accumulated batch, so that the
 * gradients of k micro-batches add up to the gradient of one batch.
 *
 * @module
 */
import type { GrpoLossType } from "./policy_surrogate.ts";

/** Size of everything that one optimizer step averages over. */
export interface WholeBatch {
  /** Sequences, fully masked ones included. */
  sequences: number;
  /** Unmasked completion tokens. */
  tokens: number;
}

/**
 * The factor of one token's loss in the batch's loss, of a sequence with L unmasked tokens.
 *
 * | loss | factor | source |
 * |---|---|---|
 * | grpo, sapo | 1 / (S·L) | mean over sequences of means over tokens; arXiv 2402.03300, eq. 3 |
 * | bnpo, dapo, cispo, vespo | 1 / (all tokens) | token-level loss of DAPO; arXiv 2503.14476, eq. 12 |
 * | dr_grpo | 1 / (S·max_completion_length) | no length bias; arXiv 2503.20783, section 3.1 |
 * | luspo | 1 / S | each sequence counts by its length; LUSPO, arXiv 2602.05261 |
 *
 * TRL divides bnpo by the tokens of each micro-batch; over a whole batch it is the same as dapo.
 */
export function tokenWeight(
  lossType: GrpoLossType,
  length: number,
  wholeBatch: WholeBatch,
  maxCompletionLength: number,
): number {
  const sequences = Math.max(wholeBatch.sequences, 1);
  switch (lossType) {
    case "grpo":
    case "sapo":
      return 1 / (sequences * Math.max(length, 1));
    case "bnpo":
    case "dapo":
    case "cispo":
    case "vespo":
      return 1 / Math.max(wholeBatch.tokens, 1);
    case "dr_grpo":
      return 1 / (sequences * maxCompletionLength);
    case "luspo":
      return 1 / sequences;
  }
}
