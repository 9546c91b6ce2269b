/**
 * Alignment via optimal transport: losses that sort over the batch, so that a pair has no loss of
 * its own.
 *
 * Melnyk et al., "Distributional Preference Alignment of LLMs via Optimal Transport",
 * arXiv 2406.05882: the k-th smallest of one set against the k-th smallest of the other, with
 * the logistic loss of their difference. Only the values are sorted; gradients are sent back to the place
 * where each value came from. Because of the sorting, k micro-batches are not one batch.
 *
 * @module
 */
import { smoothedLogistic } from "./dpo_pair_losses.ts";

/** `aot` (pairs) and `aot_unpaired`. */
export type DPOTransportLossType = "aot" | "aot_unpaired";

/** Loss of each rank, and derivatives by the policy's log-probabilities, all [B]. */
export interface TransportLoss {
  losses: Float64Array;
  byChosenLogProb: Float64Array;
  byRejectedLogProb: Float64Array;
}

function ascendingOrder(values: Float64Array): number[] {
  return Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
}

/**
 * @param chosenLogProbs policy, [B]
 * @param rejectedLogProbs policy, [B]
 * @param refChosenLogProbs reference, [B]
 * @param refRejectedLogProbs reference, [B]
 */
export function transportLoss(
  type: DPOTransportLossType,
  chosenLogProbs: ArrayLike<number>,
  rejectedLogProbs: ArrayLike<number>,
  refChosenLogProbs: ArrayLike<number>,
  refRejectedLogProbs: ArrayLike<number>,
  settings: { beta: number; labelSmoothing: number },
): TransportLoss {
  const B = chosenLogProbs.length;
  const first = new Float64Array(B), second = new Float64Array(B);
  for (let i = 0; i < B; i++) {
    if (type === "aot") { // the policy's preference against the reference's
      first[i] = chosenLogProbs[i] - rejectedLogProbs[i];
      second[i] = refChosenLogProbs[i] - refRejectedLogProbs[i];
    } else { // the chosen answers' log ratios against the rejected ones'
      first[i] = chosenLogProbs[i] - refChosenLogProbs[i];
      second[i] = rejectedLogProbs[i] - refRejectedLogProbs[i];
    }
  }
  const firstOrder = ascendingOrder(first), secondOrder = ascendingOrder(second);
  const result: TransportLoss = {
    losses: new Float64Array(B),
    byChosenLogProb: new Float64Array(B),
    byRejectedLogProb: new Float64Array(B),
  };
  for (let rank = 0; rank < B; rank++) {
    const i = firstOrder[rank], j = secondOrder[rank];
    const [loss, slope] = smoothedLogistic(
      settings.beta * (first[i] - second[j]),
      settings.labelSmoothing,
    );
    result.losses[rank] = loss;
    result.byChosenLogProb[i] += settings.beta * slope;
    const rejectedIndex = type === "aot" ? i : j;
    result.byRejectedLogProb[rejectedIndex] -= settings.beta * slope;
  }
  return result;
}
