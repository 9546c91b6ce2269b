/** A tiny model through the library's own door, and questions for it. */
import {
  type Dataset,
  datasetFromRows,
  defaultVLMConfig,
  ImageProcessor,
  initBackend,
  Tokenizer,
  VisionLanguageModel,
  type VLMConfig,
  type VqaExample,
} from "../../mod.ts";
import { embeddedTokenizerFiles } from "../../src/text/embedded_tokenizer.ts";
import { RED_PIXEL } from "../data/sources/parquet_fixture.ts";

/** A model of some thousand parameters on the wasm backend, with tokenizer and image processor. */
export async function tinyModel(): Promise<VisionLanguageModel> {
  await initBackend({ backend: "wasm" });
  const defaults = defaultVLMConfig();
  const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles())
    .withExtraTokens(defaults.vlm_extra_tokens, defaults.lm_chat_template);
  const config: VLMConfig = {
    ...defaults,
    vit_hidden_dim: 16,
    vit_inter_dim: 32,
    vit_patch_size: 8,
    vit_img_size: 16,
    vit_n_heads: 2,
    vit_n_blocks: 1,
    lm_hidden_dim: 16,
    lm_inter_dim: 32,
    lm_n_heads: 2,
    lm_n_kv_heads: 1,
    lm_n_blocks: 1,
    lm_base_vocab_size: tokenizer.imageTokenId,
    lm_vocab_size: tokenizer.vocabSize,
    lm_max_length: 128,
    max_img_size: 16,
    mp_pixel_shuffle_factor: 2,
    mp_image_token_length: 1,
  };
  const model = VisionLanguageModel.fromConfig(config, { seed: 3 });
  model.tokenizer = tokenizer;
  model.imageProcessor = ImageProcessor.fromConfig(config);
  return model;
}

/** Questions about a red dot. */
export async function redQuestions(count: number): Promise<Dataset<VqaExample>> {
  const rows = Array.from({ length: count }, (_, i) => ({
    image: { bytes: RED_PIXEL, path: `${i}.png` },
    texts: [{ user: i % 2 === 0 ? "Which colour?" : "What colour is it?", assistant: "red" }],
  }));
  return await datasetFromRows(rows, { format: "vqa", name: "red dots" });
}
