/** A small model with a tokenizer and an image processor, for tests of questions in words. */
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import type { LoadedModel } from "../../src/generate/load_model.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { ImageProcessor } from "../../src/image/image_processor.ts";
import { embeddedTokenizerFiles } from "../../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { DEFAULT_CHAT_TEMPLATE, defaultExtraTokens } from "../../src/vlm_config.ts";
import { tinyConfig } from "./tiny_model.ts";

/** The embedded tokenizer with the model's extra tokens. */
export const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles())
  .withExtraTokens(defaultExtraTokens(), DEFAULT_CHAT_TEMPLATE);

/**
 * On wasm, a model whose answers differ from question to question.
 *
 * @param width dim of its language model; default: that of `tinyConfig`
 */
export async function talkingModel(width = tinyConfig.lm_hidden_dim): Promise<LoadedModel> {
  await initBackend({ backend: "wasm" });
  const config = {
    ...tinyConfig,
    lm_base_vocab_size: tokenizer.imageTokenId,
    lm_vocab_size: tokenizer.vocabSize,
    max_img_size: 16,
    lm_hidden_dim: width,
    lm_inter_dim: width / tinyConfig.lm_hidden_dim * tinyConfig.lm_inter_dim,
  };
  const model = VisionLanguageModel.fromConfig(config, {
    seed: 5,
    initPositionEmbedding: "normal",
  });
  tf.tidy(() => {
    for (const [name, tensor] of model.weights) {
      if (!name.includes("norm")) tensor.assign(tensor.mul(10));
    }
  });
  model.tokenizer = tokenizer;
  model.imageProcessor = ImageProcessor.fromConfig(config);
  return { model, tokenizer, imageProcessor: model.imageProcessor };
}
