/**
 * Greedy tokens a second behind a prompt of 128 tokens with a picture.
 *
 * @module
 */
import type { VisionLanguageModel } from "../generate/vision_language_model.ts";
import { benchInputs } from "./bench_work.ts";
import type { Measured } from "./step_bench.ts";
import { median, type TimingOptions } from "./timing.ts";

const PROMPT_TOKENS = 128;
const NEW_TOKENS = 32;

/**
 * Tokens a second of `rows` sequences together; reading the prompt is not counted.
 *
 * @param options `tokens`: of each sequence; default: 32
 */
export async function tokensPerSecond(
  model: VisionLanguageModel,
  rows: number,
  { reps, clock, tokens = NEW_TOKENS }: TimingOptions & { readonly tokens?: number },
): Promise<number> {
  const inputs = benchInputs(model.config, rows, PROMPT_TOKENS);
  const seconds = async (maxNewTokens: number): Promise<number> => {
    const start = clock();
    await model.generate(inputs, { greedy: true, maxNewTokens, stopTokenIds: [] });
    return clock() - start;
  };
  try {
    await seconds(2);
    const spans: number[] = [];
    for (let i = 0; i < reps; i++) {
      const prompt = await seconds(1);
      spans.push(await seconds(1 + tokens) - prompt);
    }
    // On a busy machine the prompt alone may take longer than the prompt and its answer.
    return rows * tokens / Math.max(median(spans), 1e-6);
  } finally {
    inputs.images.dispose();
  }
}

/** `decode_1_tokens_per_s` and `decode_8_tokens_per_s`. */
export async function benchDecode(
  model: VisionLanguageModel,
  options: TimingOptions,
): Promise<Measured> {
  return {
    decode_1_tokens_per_s: await tokensPerSecond(model, 1, options),
    decode_8_tokens_per_s: await tokensPerSecond(model, 8, options),
  };
}
