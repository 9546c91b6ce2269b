/**
 * One call of each function of an environment, for dry runs.
 *
 * @module
 */
import { rewardPrompt } from "../../../data/rows/grpo_format.ts";
import { readImageHeader } from "../../../image/image_header.ts";
import type { Environment } from "../../../rewards/environment/environment_sandbox.ts";
import type { GRPOPrompt } from "../prompts.ts";

/**
 * Resets episodes and answers a first turn.
 *
 * @param answer text of the turn
 * @returns a line for each function that failed
 */
export async function tryEnvironment(
  environment: Environment,
  prompts: readonly GRPOPrompt[],
  answer: string,
): Promise<string[]> {
  const starts = prompts.map(({ example }, seed) => ({
    prompt: rewardPrompt(example),
    images: example.images.map(({ bytes }) => {
      const { width, height } = readImageHeader(bytes);
      return { width, height };
    }),
    seed,
    columns: example.columns,
  }));
  const states = await environment.reset(starts);
  const failed = (name: string, outcomes: readonly { readonly error: string | null }[]) => {
    const error = outcomes.find((outcome) => outcome.error !== null)?.error;
    return error ? [`environment's ${name} failed: ${error}`] : [];
  };
  const inReset = failed("reset", states);
  if (inReset.length > 0) return inReset;
  const replies = await environment.step(starts.map((start, i) => {
    const state = states[i];
    return {
      ...start,
      state: state.error === null ? state.value : null,
      answer,
      conversation: [{ role: "assistant", content: answer }],
      ...{ turn: 1, turnsLeft: 1 },
    };
  }));
  return failed("step", replies);
}
