/**
 * What the loss sees of all pairs of a step, those of other ranks included: the losses that sort over
 * a batch and the metrics need them all.
 *
 * @module
 */
import { gatherJson, type Ranks } from "../../distributed/ranks.ts";
import type { DPOLossInputs } from "../../losses/dpo_inputs.ts";
import { type DPOPair, joinPairs, lossInputs, type PairLogProbs } from "./examples.ts";

/** The lengths of a pair. */
type PairLengths = Pick<DPOPair, "chosenLength" | "rejectedLength">;

/** What the loss sees of a micro-batch. */
export interface MicroBatchPairs {
  /** Of the micro-batch within the step. */
  readonly number: number;
  readonly pairs: readonly PairLengths[];
  readonly policy: PairLogProbs;
  /** Null: the loss is reference-free. */
  readonly reference: PairLogProbs | null;
}

/** What the loss sees of a step. */
export interface StepPairs {
  /** The pairs of all micro-batches, in their order. */
  readonly inputs: DPOLossInputs;
  /** The number of a micro-batch's first pair. */
  firstPair(microBatch: number): number;
}

/** Arrays of numbers as JSON writes them: null stands for what is not finite. */
type Plain<T> = { readonly [K in keyof T]: readonly (number | null)[] };

const NAMES = ["chosen", "rejected", "plainChosen", "weights"] as const;

function plain(values: PairLogProbs): Partial<Plain<PairLogProbs>> {
  return Object.fromEntries(
    NAMES.flatMap((name) => values[name] ? [[name, Array.from(values[name])]] : []),
  );
}

function typed(values: Partial<Plain<PairLogProbs>>): PairLogProbs {
  const entries = NAMES.flatMap((name) => {
    const array = values[name];
    return array ? [[name, Float64Array.from(array, (value) => value ?? NaN)]] : [];
  });
  return Object.fromEntries(entries) as PairLogProbs;
}

/**
 * Joins the micro-batches of a step in their order.
 *
 * @param own of this rank
 */
export async function stepPairs(
  ranks: Ranks,
  own: readonly MicroBatchPairs[],
): Promise<StepPairs> {
  let all = own;
  if (ranks.size > 1) {
    const told = own.map(({ number, pairs, policy, reference }) => ({
      number,
      pairs: pairs.map(({ chosenLength, rejectedLength }) => ({ chosenLength, rejectedLength })),
      policy: plain(policy),
      reference: reference && plain(reference),
    }));
    all = (await gatherJson(ranks, told, "the log-probabilities of a step")).flat()
      .map((one) => ({
        ...one,
        policy: typed(one.policy),
        reference: one.reference && typed(one.reference),
      }))
      .sort((a, b) => a.number - b.number);
  }
  const references = all.flatMap(({ reference }) => reference ?? []);
  const before = (microBatch: number) =>
    all.filter(({ number }) => number < microBatch)
      .reduce((sum, { pairs }) => sum + pairs.length, 0);
  return {
    inputs: lossInputs(
      all.flatMap(({ pairs }) => pairs),
      joinPairs(all.map(({ policy }) => policy)),
      references.length > 0 ? joinPairs(references) : null,
    ),
    firstPair: before,
  };
}
