/**
 * From a row of logits on the host to a token and its log-probability.
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

/** A token and how likely it was. */
export interface ChosenToken {
  readonly token: number;
  /**
   * Log-probability, in nats, under the softmax of logits / temperature with nothing filtered or
   * forbidden: what a fresh forward gives, and what GRPO's ratios are made of (as in TRL).
   */
  readonly logProb: number;
  /** Log-probability, in nats, under the distribution that it was drawn from; 0 where greedy. */
  readonly filteredLogProb: number;
}

/** Whether temperature is all that shapes the distribution. */
function isUnfiltered(parameters: SamplingParameters): boolean {
  const { topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = parameters;
  return topK === 0 && (topP === 0 || topP === 1) && minP === 0 && repetitionPenalty === 1;
}

/**
 * Draws from softmax(logits / temperature) less the forbidden ids, each exponential computed once:
 * with a large vocabulary this is what sampling costs.
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

/**
 * Chooses the next token of a sequence.
 *
 * @param logits [V]; left as it is
 * @param parameters `greedy` takes the likeliest; forbidden ids and the repetition penalty count
 * @param uniform in [0, 1)
 * @throws {RangeError} where a parameter is out of range or no logit is finite
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
    const row = new Float64Array(logits);
    const { repetitionPenalty = 1 } = parameters;
    if (repetitionPenalty !== 1) {
      applyRepetitionPenalty(row, context.previousTokens ?? [], repetitionPenalty);
    }
    forbidTokens(row, context.forbidden ?? []);
    token = argmax(row);
    if (!Number.isFinite(row[token])) {
      throw new RangeError(
        `Cannot choose a token: of ${row.length} logits none is finite; the model's output is ` +
          "not a number, or every token is forbidden",
      );
    }
  } else {
    const probabilities = samplingProbabilities(logits, parameters, context);
    token = drawToken(probabilities, uniform);
    filteredLogProb = Math.log(probabilities[token]);
  }
  return { token, logProb: tokenLogProb(logits, token, temperature), filteredLogProb };
}
