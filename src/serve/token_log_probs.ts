/**
 * Log-probabilities of tokens as the chat API reports them.
 *
 * @module
 */
import { byteLevelBytes } from "../text/stream_decoder.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

// V vocabulary

/** A token, its text, and the text's bytes, of which a token may hold a part of a character. */
export interface TokenLogProb {
  readonly token: string;
  /** Nats, of softmax(logits); at least −9999, since JSON has no −∞. */
  readonly logprob: number;
  readonly bytes: readonly number[];
}

/** A chosen token and the likeliest ones in its place. */
export interface ChosenTokenLogProb extends TokenLogProb {
  readonly top_logprobs: readonly TokenLogProb[];
}

const LEAST = -9999;

/** log Σ exp of a row of logits. */
function logSumExp(logits: Float32Array): number {
  let largest = -Infinity;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}

/** Indices of the largest values, in falling order; the first of equal ones comes first. */
function largestIndices(values: Float32Array, count: number): number[] {
  // Without this, each value would be compared with one that is not there, which is slow.
  if (count === 0) return [];
  const best: number[] = [];
  for (let v = 0; v < values.length; v++) {
    if (best.length === count && !(values[v] > values[best[count - 1]])) continue;
    let place = best.length;
    while (place > 0 && values[v] > values[best[place - 1]]) place--;
    best.splice(place, 0, v);
    if (best.length > count) best.pop();
  }
  return best;
}

/**
 * What the API says of a chosen token.
 *
 * @param logits [V] before any filter
 * @param top how many of the likeliest tokens
 * @param logProb of the token under these logits, if it is known
 */
export function chosenTokenLogProb(
  tokenizer: Tokenizer,
  token: number,
  logits: Float32Array,
  { top, logProb }: { readonly top: number; readonly logProb?: number },
): ChosenTokenLogProb {
  const normaliser = logProb === undefined ? logSumExp(logits) : logits[token] - logProb;
  const entry = (id: number): TokenLogProb => ({
    token: tokenizer.decode([id], { skipSpecialTokens: false }),
    logprob: Math.max(LEAST, logits[id] - normaliser),
    bytes: [...byteLevelBytes(tokenizer, id)],
  });
  return { ...entry(token), top_logprobs: largestIndices(logits, top).map(entry) };
}
