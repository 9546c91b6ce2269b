/**
 * Loads a model for text: weights on the current backend, tokenizer and image processor.
 *
 * @module
 */
import type { ImageProcessor } from "../image/image_processor.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { OpenPretrainedOptions } from "../model/files/pretrained_folder.ts";
import { VisionLanguageModel } from "./vision_language_model.ts";

/** A model and what turns texts and pictures into its inputs. */
export interface LoadedModel {
  readonly model: VisionLanguageModel;
  readonly tokenizer: Tokenizer;
  readonly imageProcessor: ImageProcessor;
}

/**
 * Loads a model with its tokenizer and image processor.
 *
 * @param dirOrId a model folder (nanoVLM, SmolVLM, Idefics3), a PEFT adapter's folder that names its
 *   base model, or a Hub id
 * @param options `adapter`: the folder of a PEFT adapter to put on top
 * @throws {Error} if a file is missing, damaged, or does not fit, or there is no tokenizer
 */
export async function loadModel(
  dirOrId: string,
  options: OpenPretrainedOptions = {},
): Promise<LoadedModel> {
  const model = await VisionLanguageModel.fromPretrained(dirOrId, options);
  const { tokenizer, imageProcessor } = model;
  if (tokenizer === null || imageProcessor === null) {
    const { tokenizerProblem } = model;
    model.dispose();
    throw new Error(
      `Cannot load ${dirOrId} for text: ${tokenizerProblem}; copy tokenizer.json and ` +
        `tokenizer_config.json of its language model into the folder`,
    );
  }
  return { model, tokenizer, imageProcessor };
}
