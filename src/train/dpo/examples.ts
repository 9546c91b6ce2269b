/**
 * Preference rows → two labelled sequences after one prompt, ready for a batch; and from the
 * log-probabilities of their tokens → the inputs of the loss.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { PreferenceExample } from "../../data/rows/formats.ts";
import { skippingUnfitGrids } from "../../data/unfit_grid.ts";
import type { DPOLossInputs } from "../../losses/dpo.ts";
import type { ImageTiles, ModelBatch } from "../../model/batch.ts";
import {
  joinRows,
  labelledAnswer,
  type PackedRow,
  packRows,
  type Sequence,
} from "../../model/branches.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { BatchUnit } from "../batches/budget_batches.ts";
import type { ExampleParts } from "../batches/example_parts.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import type { TileCache } from "../batches/tile_cache.ts";

/** One pair for DPO. */
export interface DPOPair {
  readonly chosen: Sequence;
  readonly rejected: Sequence;
  /** Completion tokens, the end token included. */
  readonly chosenLength: number;
  readonly rejectedLength: number;
  readonly images: readonly ImageTiles[];
  /** The data set's row, below 0 in held-out data; null if rows are not known (streams). */
  readonly row: number | null;
}

const sameIds = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((id, i) => id === b[i]);

/** Turns rows into pairs. */
export class DPOExampleMaker {
  /** @param maxLength longest sequence, tokens; answers lose their end, prompts nothing */
  constructor(readonly parts: ExampleParts, readonly maxLength: number) {}

  /** Decodes the pictures. */
  get tiles(): TileCache {
    return this.parts.tiles;
  }

  /**
   * @throws {RowSkipped} if an image cannot be used, the prompt leaves no room, an answer has no
   *   text, or both answers are the same
   */
  async make({ example, row }: PlacedExample<PreferenceExample>): Promise<DPOPair> {
    const images = await this.parts.tiles.process(
      example.images,
      row === null ? null : String(row),
    );
    const grids = images.map(({ grid }) => grid);
    const ids = skippingUnfitGrids(() => this.parts.builder.buildPreference(example, grids));
    const room = this.maxLength - ids.promptIds.length;
    if (room < 1) {
      throw new RowSkipped(
        `the prompt has ${ids.promptIds.length} tokens, ${ids.imageTokenCount} of them of images; ` +
          `max_seq_length ${this.maxLength} leaves no room for an answer`,
      );
    }
    // A single token is the end token: the text was empty or had nothing but image tokens.
    if (ids.chosenIds.length < 2) throw new RowSkipped("the chosen answer has no text");
    if (ids.rejectedIds.length < 2) throw new RowSkipped("the rejected answer has no text");
    if (sameIds(ids.chosenIds, ids.rejectedIds)) {
      throw new RowSkipped("chosen and rejected are the same");
    }
    const chosenIds = ids.chosenIds.slice(0, room);
    const rejectedIds = ids.rejectedIds.slice(0, room);
    if (sameIds(chosenIds, rejectedIds)) {
      throw new RowSkipped(
        `chosen and rejected are the same in the ${room} tokens that max_seq_length ` +
          `${this.maxLength} leaves for an answer`,
      );
    }
    return {
      chosen: labelledAnswer(ids.promptIds, chosenIds),
      rejected: labelledAnswer(ids.promptIds, rejectedIds),
      chosenLength: chosenIds.length,
      rejectedLength: rejectedIds.length,
      images,
      row,
    };
  }
}

/**
 * Rows of a batch of pairs: with `sharePrefix` a pair is one row, chosen and rejected as branches
 * after the prompt with its images; otherwise two. Labels come in the order chosen, rejected, pair by
 * pair in both cases.
 */
export function pairRows(
  pairs: readonly DPOPair[],
  sharePrefix: boolean,
  imageTokenId: number,
): PackedRow[] {
  return pairs.flatMap(({ chosen, rejected, images }) =>
    packRows([chosen, rejected], images, sharePrefix, imageTokenId)
  );
}

/** The pairs of a step with the tokens and pictures that they add to a micro-batch. */
export function pairUnits(
  pairs: readonly DPOPair[],
  sharePrefix: boolean,
  imageTokenId: number,
): BatchUnit<DPOPair>[] {
  return pairs.map((pair) => {
    const rows = pairRows([pair], sharePrefix, imageTokenId);
    return {
      examples: [pair],
      tokens: rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0),
      images: rows.reduce((sum, { images }) => sum + images.length, 0),
    };
  });
}

/** The batch of some pairs. */
export function pairBatch(
  pairs: readonly DPOPair[],
  sharePrefix: boolean,
  { config, imageTokenId }: VisionLanguageModel,
): ModelBatch {
  return joinRows(pairRows(pairs, sharePrefix, imageTokenId), config);
}

/** Log-probabilities of answers, summed over their tokens, [B] each. */
export interface PairLogProbs {
  readonly chosen: Float64Array;
  readonly rejected: Float64Array;
  /** Those of the chosen answers with every token's weight 1, if LD-DPO weighs tokens. */
  readonly plainChosen?: Float64Array;
  /** WPO's weights of the pairs. */
  readonly weights?: Float64Array;
}

/** Tokens up to the length that both answers of a pair have. */
const sharedLength = ({ chosenLength, rejectedLength }: DPOPair): number =>
  Math.min(chosenLength, rejectedLength);

/**
 * Sums of a batch's token log-probabilities.
 *
 * @param pairs in the order of the batch
 * @param tokenLogProbs of the batch's labels, in order
 * @param ldAlpha weight of the longer answer's tokens beyond the length of the shorter one; Liu et
 *   al., "LD-DPO", arXiv 2409.06411, eq. 9; null: 1
 */
export function sumPairs(
  pairs: readonly DPOPair[],
  tokenLogProbs: ArrayLike<number>,
  ldAlpha: number | null = null,
): PairLogProbs {
  const chosen = new Float64Array(pairs.length), rejected = new Float64Array(pairs.length);
  const plainChosen = new Float64Array(pairs.length);
  const tail = ldAlpha ?? 1;
  let at = 0;
  pairs.forEach((pair, i) => {
    const shared = sharedLength(pair);
    for (let t = 0; t < pair.chosenLength; t++, at++) {
      chosen[i] += (t < shared ? 1 : tail) * tokenLogProbs[at];
      plainChosen[i] += tokenLogProbs[at];
    }
    for (let t = 0; t < pair.rejectedLength; t++, at++) {
      rejected[i] += (t < shared ? 1 : tail) * tokenLogProbs[at];
    }
  });
  return { chosen, rejected, ...(ldAlpha === null ? {} : { plainChosen }) };
}

/** d loss / d log-probabilities of answers, [B] each. */
export interface PairSlopes {
  readonly byChosen: ArrayLike<number>;
  readonly byRejected: ArrayLike<number>;
  /** By `plainChosen`; null if there is none. */
  readonly byPlainChosen: ArrayLike<number> | null;
}

/**
 * The backward pass of {@linkcode sumPairs}: each token gets its answer's gradient, by its weight.
 *
 * @returns one entry a label of the batch; written, not added
 */
export function spreadPairs(
  pairs: readonly DPOPair[],
  { byChosen, byRejected, byPlainChosen }: PairSlopes,
  ldAlpha: number | null = null,
): Float32Array {
  const total = pairs.reduce((sum, pair) => sum + pair.chosenLength + pair.rejectedLength, 0);
  const gradient = new Float32Array(total);
  const tail = ldAlpha ?? 1;
  let at = 0;
  pairs.forEach((pair, i) => {
    const { chosenLength, rejectedLength } = pair;
    const shared = sharedLength(pair);
    const plain = byPlainChosen?.[i] ?? 0;
    gradient.fill(byChosen[i] + plain, at, at + shared);
    gradient.fill(tail * byChosen[i] + plain, at + shared, at + chosenLength);
    at += chosenLength;
    gradient.fill(byRejected[i], at, at + shared);
    gradient.fill(tail * byRejected[i], at + shared, at + rejectedLength);
    at += rejectedLength;
  });
  return gradient;
}

/**
 * WPO's weight of each pair: how likely its answers are under the policy, next to answers that the
 * policy would sample: the product over both answers of exp(mean over tokens of
 * log p(y) − log Σ_v p(v)²). Zhou et al., "WPO", arXiv 2406.11827, eq. 2 with the alignment of
 * section 3.2.
 *
 * With l = log p(y) and h = log p(y) at temperature 1/2, log Σ p² = 2l − h, so that the term of a
 * token is h − l.
 *
 * @param pairs in the order of the batch
 * @param logProbs of the batch's labels, in order
 * @param sharpened the same at temperature 1/2
 * @returns [B]
 */
export function policyWeights(
  pairs: readonly DPOPair[],
  logProbs: ArrayLike<number>,
  sharpened: ArrayLike<number>,
): Float64Array {
  const difference = Float64Array.from(logProbs, (l, i) => sharpened[i] - l);
  const { chosen, rejected } = sumPairs(pairs, difference);
  return Float64Array.from(
    pairs,
    ({ chosenLength, rejectedLength }, i) =>
      Math.exp(chosen[i] / chosenLength + rejected[i] / rejectedLength),
  );
}

const concat = (arrays: readonly Float64Array[]): Float64Array =>
  Float64Array.from(arrays.flatMap((array) => [...array]));

/** Several batches as one. */
export function joinPairs(parts: readonly PairLogProbs[]): PairLogProbs {
  const plain = parts.flatMap(({ plainChosen }) => plainChosen ?? []);
  const weights = parts.flatMap(({ weights }) => weights ?? []);
  return {
    chosen: concat(parts.map(({ chosen }) => chosen)),
    rejected: concat(parts.map(({ rejected }) => rejected)),
    ...(plain.length > 0 ? { plainChosen: concat(plain) } : {}),
    ...(weights.length > 0 ? { weights: concat(weights) } : {}),
  };
}

/**
 * What the loss is computed from.
 *
 * @param pairs for their lengths, [B]
 * @param policy sums of the answers' log-probabilities, [B] each
 * @param reference the same under the reference; null: the loss is reference-free
 */
export function lossInputs(
  pairs: readonly Pick<DPOPair, "chosenLength" | "rejectedLength">[],
  policy: PairLogProbs,
  reference: PairLogProbs | null,
): DPOLossInputs {
  return {
    chosenLogProbs: policy.chosen,
    rejectedLogProbs: policy.rejected,
    refChosenLogProbs: reference?.chosen,
    refRejectedLogProbs: reference?.rejected,
    chosenLengths: pairs.map(({ chosenLength }) => chosenLength),
    rejectedLengths: pairs.map(({ rejectedLength }) => rejectedLength),
    chosenTokenLogProbs: policy.plainChosen,
    pairWeights: policy.weights,
  };
}

/** Tokens of all chosen answers. */
export const chosenTokens = (pairs: readonly DPOPair[]): number =>
  pairs.reduce((sum, { chosenLength }) => sum + chosenLength, 0);
