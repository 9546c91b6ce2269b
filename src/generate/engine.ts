/**
 * Token-by-token generation: every prompt is read once, for any number of completions.
 * Then each step runs only the new tokens, with cached keys and values. Sequences that have
 * finished leave the batch.
 *
 * @module
 */
import { type ModelInputs, toModelBatch } from "../model/batch.ts";
import type { VLM } from "../model/vlm.ts";
import { encodeDistinct, encodeInParts } from "./encode_pictures.ts";
import type { GenerateOptions, Generation } from "./generate_options.ts";
import { GenerationRun } from "./generation_run.ts";
import { packPrompts, placesOfRows, type PromptRow } from "./prompt_rows.ts";

export type { GenerateOptions, Generation } from "./generate_options.ts";

// P prompts, T tokens, G completions of each

/**
 * Generates answers to a left-padded batch of prompts.
 *
 * @param model the model
 * @param inputs prompts [P, T] with their images; labels are not used
 * @param options how to choose and when to stop
 * @returns P·G completions, those of a prompt one after the other
 */
export async function generateTokens(
  model: VLM,
  inputs: ModelInputs,
  options: GenerateOptions,
): Promise<Generation[]> {
  const batch = toModelBatch(inputs, model.config);
  try {
    const pass = { withoutAdapters: options.withoutAdapters };
    const encode = () => batch.images ? encodeInParts(model, batch.images, pass) : null;
    return await new GenerationRun(model, batch, placesOfRows(batch), options).generate(encode);
  } finally {
    batch.dispose();
  }
}

/**
 * Generates answers to prompts in rows that share pictures. A picture that several rows hold (the
 * same object) is encoded once.
 *
 * @param model the model
 * @param rows prompts with their pictures
 * @param padTokenId fills the padding
 * @param options how to choose and when to stop
 * @returns completions in the order of the prompts, G of each
 */
export async function generateFromRows(
  model: VLM,
  rows: readonly PromptRow[],
  padTokenId: number,
  options: GenerateOptions,
): Promise<Generation[]> {
  const { batch, places, images } = packPrompts(rows, padTokenId, model.imageTokenId, model.config);
  try {
    const encode = () =>
      encodeDistinct(model, images, { withoutAdapters: options.withoutAdapters });
    return await new GenerationRun(model, batch, places, options).generate(encode);
  } finally {
    batch.dispose();
  }
}
