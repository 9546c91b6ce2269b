/**
 * Chooses a token from a row of logits on the host, with its log-probability.
 *
 * @module
 */
import {
  applyRepetitionPenalty,
  argmax,
  checkSamplingParameters,
  drawToken,
  forbidTokens,
  type SamplingContext,
  type SamplingParameters,
  samplingProbabilities,
  tokenLogProb,
} from "./sampling_filters.ts";

// V vocabulary

/** A token and its log-probabilities. */
export interface ChosenToken {
  readonly token: number;
  /**
   * Log-probability, in nats, under the softmax of logits / temperature with nothing filtered or
   * forbidden: as a fresh forward pass computes it and as GRPO's ratios use it (as in TRL).
   */
  readonly logProb: number;
  /** Log-probability, in nats, under the distribution that it was drawn from; 0 if greedy. */
  readonly filteredLogProb: number;
}

/** Whether no filter other than temperature is active. */
function isUnfiltered(parameters: SamplingParameters): boolean {
  const { topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = parameters;
  return topK === 0 && (topP === 0 || topP === 1) && minP === 0 && repetitionPenalty === 1;
}

/**
 * Draws from softmax(logits / temperature) without the forbidden ids. Each exponential is computed
 * once: with a large vocabulary they are most of the cost of sampling.
 */
function drawUnfiltered(
  logits: Float32Array,
  temperature: number,
  uniform: number,
  forbidden: Iterable<number>,
): ChosenToken {
  const weights = new Float64Array(logits.length);
  let largest = -Infinity, all = 0;
  for (let v = 0; v < logits.length; v++) if (logits[v] > largest) largest = logits[v];
  for (let v = 0; v < logits.length; v++) {
    weights[v] = Math.exp((logits[v] - largest) / temperature);
    all += weights[v];
  }
  for (const id of forbidden) if (id >= 0 && id < weights.length) weights[id] = 0;
  let allowed = 0;
  for (let v = 0; v < weights.length; v++) allowed += weights[v];
  if (!(allowed > 0)) {
    throw new RangeError(
      `Cannot draw a token: of ${logits.length} logits none is finite and allowed; the model's ` +
        "output is not a number, or every token that it finds possible is forbidden",
    );
  }
  const token = drawToken(weights, uniform * allowed);
  const logWeight = (logits[token] - largest) / temperature;
  return {
    token,
    logProb: logWeight - Math.log(all),
    filteredLogProb: logWeight - Math.log(allowed),
  };
}

/** The likeliest allowed token, with the repetition penalty. */
function likeliest(
  logits: Float32Array,
  { repetitionPenalty = 1 }: SamplingParameters,
  { forbidden = [], previousTokens = [] }: SamplingContext,
): number {
  if (repetitionPenalty === 1) {
    const token = argmax(logits);
    // A copy without the forbidden ids is only needed if one of them is the likeliest.
    if (Number.isFinite(logits[token]) && ![...forbidden].includes(token)) return token;
  }
  const row = new Float64Array(logits);
  if (repetitionPenalty !== 1) applyRepetitionPenalty(row, previousTokens, repetitionPenalty);
  forbidTokens(row, forbidden);
  const token = argmax(row);
  if (Number.isFinite(row[token])) return token;
  throw new RangeError(
    `Cannot choose a token: of ${row.length} logits none is finite; the model's output is ` +
      "not a number, or every token is forbidden",
  );
}

/**
 * Chooses the next token of a sequence.
 *
 * @param logits [V]; left as it is
 * @param parameters `greedy` takes the likeliest; forbidden ids and the repetition penalty count
 * @param uniform in [0, 1)
 * @throws {RangeError} if a parameter is out of range or no logit is finite
 */
export function chooseToken(
  logits: Float32Array,
  parameters: SamplingParameters & { greedy?: boolean },
  uniform: number,
  context: SamplingContext = {},
): ChosenToken {
  const greedy = parameters.greedy === true || parameters.temperature === 0;
  const temperature = greedy ? 1 : parameters.temperature ?? 1;
  if (!greedy && isUnfiltered(parameters)) {
    checkSamplingParameters(parameters);
    return drawUnfiltered(logits, temperature, uniform, context.forbidden ?? []);
  }
  let token: number, filteredLogProb = 0;
  if (greedy) {
    token = likeliest(logits, parameters, context);
  } else {
    const probabilities = samplingProbabilities(logits, parameters, context);
    token = drawToken(probabilities, uniform);
    filteredLogProb = Math.log(probabilities[token]);
  }
  return { token, logProb: tokenLogProb(logits, token, temperature), filteredLogProb };
}
