/**
 * Computes the distribution of the next token from a row of logits, on the host: the
 * reference for the GPU sampler, and the sampler of the other backends.
 *
 * @module
 */

// V vocabulary

/** How the next token is drawn; named as in the configs, in camelCase. */
export interface SamplingParameters {
  /** Logits are divided by it; default 1. 0 is greedy. */
  temperature?: number;
  /** Keep the k likeliest tokens and those that tie with the last; 0 (default) is off. */
  topK?: number;
  /** Keep the smallest set with this much probability; 1 (default) and 0 are off. */
  topP?: number;
  /**
   * Keep tokens with at least this share of the likeliest one's probability; 0 (default) is off.
   */
  minP?: number;
  /**
   * Divides positive and multiplies negative logits of tokens that occurred; 1 (default) is off.
   */
  repetitionPenalty?: number;
  /**
   * - `transformers` (default): temperature, top-k, top-p with the token that crosses it, min-p.
   * - `nanovlm`: top-k and top-p without the crossing token on the raw logits, then temperature.
   */
  order?: "transformers" | "nanovlm";
}

/** Logits with a token taken out hold −∞. */
const OUT = -Infinity;

/**
 * Lowers the logits of tokens that the text so far holds. Keskar et al., "CTRL", arXiv 1909.05858,
 * section 4.1; signs as in Transformers.
 *
 * @param logits [V]; changed in place
 * @param tokens ids of the prompt and what was generated
 */
export function applyRepetitionPenalty(
  logits: Float64Array,
  tokens: Iterable<number>,
  penalty: number,
): void {
  for (const token of new Set(tokens)) {
    if (token < 0 || token >= logits.length) continue;
    logits[token] = logits[token] < 0 ? logits[token] * penalty : logits[token] / penalty;
  }
}

/** Removes tokens that must never be sampled: image and row/column tokens. */
export function forbidTokens(logits: Float64Array, forbidden: Iterable<number>): void {
  for (const token of forbidden) if (token >= 0 && token < logits.length) logits[token] = OUT;
}

/** The k-th largest of the values, 1 ≤ k ≤ their number. */
function kthLargest(values: Float64Array, k: number): number {
  // Keep a short list sorted by insertion: few logits of a large vocabulary enter it.
  if (k > 1024) return values.slice().sort()[values.length - k];
  const best = new Float64Array(k).fill(OUT); // ascending
  for (let v = 0; v < values.length; v++) {
    const value = values[v];
    if (!(value > best[0])) continue;
    let i = 1;
    for (; i < k && best[i] < value; i++) best[i - 1] = best[i];
    best[i - 1] = value;
  }
  return best[0];
}

/** Keeps the k largest logits and those equal to the k-th. */
export function filterTopK(logits: Float64Array, topK: number): void {
  if (topK <= 0 || topK >= logits.length) return;
  const lowestKept = kthLargest(logits, topK);
  for (let v = 0; v < logits.length; v++) if (logits[v] < lowestKept) logits[v] = OUT;
}

/**
 * Keeps the likeliest tokens up to a cumulative probability. Holtzman et al., "The Curious Case of
 * Neural Text Degeneration", arXiv 1904.09751, section 3.1.
 *
 * @param logits [V]; changed in place
 * @param topP in (0, 1)
 * @param keepsCrossing true: the token that crosses `topP` stays (the smallest set that reaches it);
 *   false: it goes, unless it is the first
 */
export function filterTopP(logits: Float64Array, topP: number, keepsCrossing = true): void {
  if (topP <= 0 || topP >= 1) return;
  const probabilities = softmax(logits);
  // All tokens below this share together have less than 1 − topP: none of them can be needed.
  const least = (1 - topP) / logits.length * (1 - 1e-9);
  const order: number[] = [];
  for (let token = 0; token < logits.length; token++) {
    if (probabilities[token] >= least) order.push(token);
    else logits[token] = OUT;
  }
  // Among equals the later id goes first, as Transformers' ascending sort has it.
  order.sort((a, b) => logits[b] - logits[a] || b - a);
  let before = 0;
  order.forEach((token, rank) => {
    const through = before + probabilities[token];
    const keep = rank === 0 || (keepsCrossing ? before < topP : through <= topP);
    if (!keep) logits[token] = OUT;
    before = through;
  });
}

/** Keeps tokens at least `minP` times as likely as the likeliest (arXiv 2407.01082, eq. 2). */
export function filterMinP(logits: Float64Array, minP: number): void {
  if (minP <= 0) return;
  let largest = OUT;
  for (const logit of logits) largest = Math.max(largest, logit);
  const lowestKept = largest + Math.log(minP);
  for (let v = 0; v < logits.length; v++) if (logits[v] < lowestKept) logits[v] = OUT;
}

/** softmax, with −∞ meaning probability 0. */
export function softmax(logits: ArrayLike<number>): Float64Array {
  let largest = OUT;
  for (let v = 0; v < logits.length; v++) largest = Math.max(largest, logits[v]);
  const probabilities = new Float64Array(logits.length);
  let sum = 0;
  for (let v = 0; v < logits.length; v++) {
    probabilities[v] = Math.exp(logits[v] - largest);
    sum += probabilities[v];
  }
  for (let v = 0; v < logits.length; v++) probabilities[v] /= sum;
  return probabilities;
}

/** Filters that depend on the sequence. */
export interface SamplingContext {
  /** Ids that can never be drawn. */
  forbidden?: Iterable<number>;
  /** Ids of the text so far, for the repetition penalty. */
  previousTokens?: Iterable<number>;
}

/**
 * The distribution that the next token is drawn from.
 *
 * @param logits [V]; left as it is
 * @returns probabilities [V], which sum to 1
 * @throws {RangeError} if a parameter is out of range or nothing can be drawn
 *
 * @example Top-p keeps the token that crosses it
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { samplingProbabilities } from "./sampling_filters.ts";
 *
 * const logits = [Math.log(0.6), Math.log(0.3), Math.log(0.1)];
 * const kept = samplingProbabilities(logits, { topP: 0.7 });
 * assertAlmostEquals(kept[0], 2 / 3, 1e-12);
 * assertAlmostEquals(kept[2], 0, 1e-12);
 * ```
 */
export function samplingProbabilities(
  logits: ArrayLike<number>,
  parameters: SamplingParameters,
  context: SamplingContext = {},
): Float64Array {
  const temperature = parameters.temperature ?? 1;
  const topK = parameters.topK ?? 0, topP = parameters.topP ?? 1, minP = parameters.minP ?? 0;
  const penalty = parameters.repetitionPenalty ?? 1;
  checkSamplingParameters(parameters);
  const row = new Float64Array(logits);
  if (penalty !== 1) applyRepetitionPenalty(row, context.previousTokens ?? [], penalty);
  forbidTokens(row, context.forbidden ?? []);
  const likeliest = argmax(row);
  if (row.length === 0 || !Number.isFinite(row[likeliest])) {
    throw new RangeError(
      `Cannot draw a token: of ${row.length} logits none is finite after filtering; the model's ` +
        "output is not a number, or every token is forbidden",
    );
  }
  if (temperature === 0) {
    return Float64Array.from(row, (_, token) => token === likeliest ? 1 : 0);
  }
  const divide = () => {
    for (let v = 0; v < row.length; v++) row[v] /= temperature;
  };
  if (parameters.order === "nanovlm") {
    filterTopK(row, topK);
    filterTopP(row, topP, false);
    divide();
  } else {
    divide();
    filterTopK(row, topK);
    filterTopP(row, topP);
    filterMinP(row, minP);
  }
  return softmax(row);
}

/** Index of the largest value, the first of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * Draws a token by inverting the cumulative distribution.
 *
 * @param probabilities [V]
 * @param uniform in [0, 1)
 */
export function drawToken(probabilities: ArrayLike<number>, uniform: number): number {
  let cumulative = 0, last = 0;
  for (let token = 0; token < probabilities.length; token++) {
    if (probabilities[token] === 0) continue;
    cumulative += probabilities[token];
    last = token;
    if (uniform < cumulative) return token;
  }
  return last; // rounding left the sum below the uniform number
}

/**
 * Log-probability of a token under softmax(logits / temperature), with nothing filtered out: what
 * GRPO's losses compare, and as a fresh forward pass computes it (TRL and NanoVLM-Lab divide by the
 * sampling temperature too).
 *
 * @param logits [V]
 * @param temperature 0 (greedy) counts as 1
 */
export function tokenLogProb(logits: ArrayLike<number>, token: number, temperature = 1): number {
  const scale = temperature === 0 ? 1 : temperature;
  // Not a number in any place makes the sum not a number.
  let largest = OUT;
  for (let v = 0; v < logits.length; v++) if (logits[v] > largest) largest = logits[v];
  let sum = 0;
  if (scale === 1) { for (let v = 0; v < logits.length; v++) sum += Math.exp(logits[v] - largest); }
  else for (let v = 0; v < logits.length; v++) sum += Math.exp((logits[v] - largest) / scale);
  return (logits[token] - largest) / scale - Math.log(sum);
}

/** @throws {RangeError} if a parameter is out of range */
export function checkSamplingParameters(parameters: SamplingParameters): void {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = parameters;
  const wrong = (name: string, value: number, want: string): RangeError =>
    new RangeError(`Cannot sample with ${name} ${value}: want ${want}`);
  if (!(temperature >= 0)) throw wrong("temperature", temperature, "0 (greedy) or more");
  if (!(Number.isInteger(topK) && topK >= 0)) {
    throw wrong("top_k", topK, "an integer, 0 (off) or more");
  }
  if (!(topP >= 0 && topP <= 1)) throw wrong("top_p", topP, "0 to 1 (both off)");
  if (!(minP >= 0 && minP <= 1)) throw wrong("min_p", minP, "0 (off) to 1");
  if (!(repetitionPenalty > 0)) {
    throw wrong("repetition_penalty", repetitionPenalty, "a number above 0 (1 is off)");
  }
}
