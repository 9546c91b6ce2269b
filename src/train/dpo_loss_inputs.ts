/**
 * Pairs and their log-probabilities → what the loss is computed from.
 *
 * @module
 */
import type { DpoInputs } from "../losses/dpo.ts";
import type { DPOPair, PairLogProbs } from "./dpo/examples.ts";

// B pairs

const concat = (arrays: readonly Float64Array[]): Float64Array =>
  Float64Array.from(arrays.flatMap((array) => [...array]));

/** Several batches as one. */
export const joinPairs = (parts: readonly PairLogProbs[]): PairLogProbs => ({
  chosen: concat(parts.map(({ chosen }) => chosen)),
  rejected: concat(parts.map(({ rejected }) => rejected)),
});

/**
 * What the loss is computed from.
 *
 * @param pairs for their lengths, [B]
 * @param policy sums of the answers' log-probabilities, [B] each
 * @param reference the same under the reference; null: the loss is reference-free
 */
export function lossInputs(
  pairs: readonly DPOPair[],
  policy: PairLogProbs,
  reference: PairLogProbs | null,
): DpoInputs {
  return {
    chosenLogProbs: policy.chosen,
    rejectedLogProbs: policy.rejected,
    refChosenLogProbs: reference?.chosen,
    refRejectedLogProbs: reference?.rejected,
    chosenLengths: pairs.map(({ chosenLength }) => chosenLength),
    rejectedLengths: pairs.map(({ rejectedLength }) => rejectedLength),
  };
}

/** Tokens of all chosen answers. */
export const chosenTokens = (pairs: readonly DPOPair[]): number =>
  pairs.reduce((sum, { chosenLength }) => sum + chosenLength, 0);
