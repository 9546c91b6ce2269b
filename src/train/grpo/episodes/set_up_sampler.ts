/**
 * What samples completions in a run: one turn, or episodes with an environment.
 *
 * @module
 */
import type { ResolvedConfig } from "../../../config/types/config_types.ts";
import type { LoadedModel } from "../../../generate/load_model.ts";
import type { Environment } from "../../../rewards/environment/environment_sandbox.ts";
import type { ExampleParts } from "../../batches/example_parts.ts";
import type { PicturesOf } from "../rollout.ts";
import { CompletionSampler, type Sampler, samplingSettings } from "../sampling.ts";
import { EpisodePictures } from "./episode_pictures.ts";
import { EpisodeSampler } from "./episode_sampler.ts";

/**
 * The sampler of a config, and what processes an environment's pictures again.
 *
 * @param environment null: a completion is one turn
 */
export function setUpSampler(
  { grpo, training }: ResolvedConfig,
  { model, tokenizer }: Pick<LoadedModel, "model" | "tokenizer">,
  { builder, tiles }: ExampleParts,
  environment: Environment | null,
): { sampler: Sampler; picturesOf?: PicturesOf } {
  const sampler = new CompletionSampler(
    { model, tokenizer },
    samplingSettings(grpo, training.seed),
  );
  if (environment === null) return { sampler };
  const pictures = new EpisodePictures(tiles);
  return {
    sampler: new EpisodeSampler({ sampler, environment, builder, pictures }, grpo.max_turns),
    picturesOf: async (files) => {
      const processed = await pictures.tilesOf(files);
      return files.map((bytes, i) => ({ bytes, image: processed[i] }));
    },
  };
}
