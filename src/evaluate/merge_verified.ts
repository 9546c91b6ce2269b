/**
 * Merging with two checks: the merged weights against another computation from the adapter's files,
 * and the merged model's logits against those of model and adapter together.
 *
 * @module
 */
import { readBack } from "../device/read_back.ts";
import type { VLMConfig } from "../vlm_config.ts";
import { VisionLanguageModel } from "../generate/vision_language_model.ts";
import { RandomStream } from "../random.ts";
import { nameOwnTokenizer } from "../model/files/own_tokenizer.ts";
import { checkMergedWeights } from "../model/convert/check_merge.ts";
import { mergeFolder, type MergeFolderOptions } from "../model/convert/merge_folder.ts";

// V vocabulary, T tokens, S image side

/** Largest accepted difference of a logit. */
const TOLERANCE = 1e-3;

/** Text tokens of the input that both models get, after one picture. */
const TEXT_TOKENS = 24;

/** A picture of noise and random tokens after it, the same for the same config. */
function randomInputs(config: VLMConfig, imageTokenId: number) {
  const random = new RandomStream(0, "merge");
  const { vit_img_size: S, mp_image_token_length: L, lm_base_vocab_size: V } = config;
  const tiles = Float32Array.from({ length: 3 * S * S }, () => random.nextFloat());
  const text = Array.from({ length: TEXT_TOKENS }, () => random.nextInt(V))
    .filter((token) => token !== imageTokenId);
  return {
    inputIds: [[...new Array<number>(L).fill(imageTokenId), ...text]],
    images: [{ tiles, tileCount: 1 }],
  };
}

/** The logits [T · V] of a model on the random input. */
async function logitsOf(model: VisionLanguageModel): Promise<Float32Array> {
  const { logits } = model.forward({
    ...randomInputs(model.config, model.imageTokenId),
    returnLogits: true,
  });
  if (logits === null) throw new Error("The model returned no logits");
  const [values] = await readBack([logits]);
  logits.dispose();
  return values as Float32Array;
}

/** Runs `work` on a model from a folder. */
async function withModel<T>(
  folder: string,
  adapter: string | undefined,
  run: (model: VisionLanguageModel) => Promise<T>,
): Promise<T> {
  const model = await VisionLanguageModel.fromPretrained(folder, { adapter });
  try {
    return await run(model);
  } finally {
    model.dispose();
  }
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

/**
 * Merges an adapter into its model and compares the logits before and after on the current backend.
 *
 * @returns the names of the merged layers and of the replaced weights, and the largest difference
 * @throws {Error} if a logit differs by more than 1e-3; a folder that is new is removed then
 */
export async function mergeAndVerify(
  options: MergeFolderOptions,
): Promise<{ merged: string[]; replaced: string[]; largestDifference: number }> {
  const { modelDir, adapterDir, outDir } = options;
  const { before, tokenizer, imageProcessor } = await withModel(
    modelDir,
    adapterDir,
    async (model) => ({
      before: await logitsOf(model),
      tokenizer: model.tokenizer,
      imageProcessor: model.imageProcessor,
    }),
  );
  const existed = await exists(outDir);
  const { merged, replaced } = await mergeFolder(options);
  try {
    await checkMergedWeights(options);
  } catch (error) {
    if (!existed) await Deno.remove(outDir, { recursive: true });
    throw error;
  }
  // A tokenizer that lay beside the model's folder does not lie beside the new one.
  if (!await exists(`${outDir}/tokenizer.json`)) {
    await tokenizer?.save(outDir);
    await nameOwnTokenizer(outDir);
  }
  if (!await exists(`${outDir}/preprocessor_config.json`)) await imageProcessor?.save(outDir);
  const after = await withModel(outDir, undefined, logitsOf);
  let largestDifference = 0;
  before.forEach((value, i) => {
    const difference = Math.abs(value - after[i]);
    // Not `<`, so that NaN counts too.
    if (!(difference <= largestDifference)) largestDifference = difference;
  });
  if (largestDifference <= TOLERANCE) return { merged, replaced, largestDifference };
  if (!existed) await Deno.remove(outDir, { recursive: true });
  throw new Error(
    `Merged ${adapterDir} into ${modelDir}, but a logit changed by ${largestDifference}, want ` +
      `${TOLERANCE} at most: ${existed ? `do not use ${outDir}` : `${outDir} was removed`}; is ` +
      `the adapter trained on another model?`,
  );
}
