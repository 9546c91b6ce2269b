/** A tiny run whose untrained model often ends a turn, and an environment in memory. */
import * as tf from "@tensorflow/tfjs";
import type { Environment } from "../../../../src/rewards/environment/environment_sandbox.ts";
import type { EpisodeTurn } from "../../../../src/rewards/environment/types.ts";
import { answerEnds } from "../../../../src/text/answer_end.ts";
import { tinyConfig, type TinyRun, tinyRun } from "../tiny_grpo.ts";

/** What the environment says after a turn. */
export type Reply = (turn: EpisodeTurn) => Record<string, unknown>;

/** Shows the left half of the first picture and a number, and counts its replies as its state. */
export const halfPicture: Reply = ({ state, images: [{ width, height }] }) => ({
  state: (state as number) + 1,
  text: `a${state}`,
  images: [{ image: 0, crop: [0, 0, width / 2, height] }],
});

/** An environment without a sandbox. */
export function environmentOf(reply: Reply): Environment {
  return {
    reset: (episodes) => Promise.resolve(episodes.map(() => ({ value: 0, error: null }))),
    step: (episodes) =>
      Promise.resolve(episodes.map((episode) => ({
        value: { state: episode.state, done: false, text: "", images: [], ...reply(episode) },
        error: null,
      }))),
  };
}

/**
 * Makes the end token likely in every place: all embeddings get one direction, and the end token's more
 * of it. Head and embeddings share their weights.
 */
function preferEnd({ prepared: { model, tokenizer } }: TinyRun): void {
  const table = model.weights.get("decoder.token_embedding.weight") ??
    model.weights.get("decoder.head.weight")!;
  const end = answerEnds(tokenizer).trained;
  tf.tidy(() => {
    const [V, C] = table.shape as [number, number];
    const extra = new Float32Array(V * C).fill(0.2);
    extra.fill(0.5, end * C, (end + 1) * C);
    (table as tf.Variable).assign(table.add(tf.tensor2d(extra, [V, C])));
  });
}

/** A run over four prompts with three episodes each of up to three turns. */
export async function episodeRun(
  overrides: readonly string[] = [],
  reply: Reply = halfPicture,
  more: Partial<NonNullable<Parameters<typeof tinyRun>[1]>> = {},
): Promise<TinyRun> {
  const config = tinyConfig([
    "grpo.environment=in_memory.ts",
    "grpo.max_turns=3",
    "grpo.max_completion_length=60",
    ...overrides,
  ]);
  const run = await tinyRun(config, { environment: environmentOf(reply), ...more });
  preferEnd(run);
  return run;
}
