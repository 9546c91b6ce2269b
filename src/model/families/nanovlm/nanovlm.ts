/**
 * The family nanoVLM: folders of huggingface/nanoVLM, whose names and keys the model uses in memory
 * too.
 *
 * @module
 */
import { ImageProcessor } from "../../../image/image_processor.ts";
import { DEFAULT_CHAT_TEMPLATE, defaultExtraTokens } from "../../../vlm_config.ts";
import { inverseFrequencies } from "../../weight_shapes.ts";
import type { ModelFamily } from "../model_family.ts";
import { formatConfig, parseVLMConfig } from "./config.ts";
import { openProcessing, processingOf } from "./processing.ts";

const HEAD = "decoder.head.weight";
const EMBEDDING = "decoder.token_embedding.weight";
const FREQUENCIES = "decoder.rotary_embd.inv_freq";

/** nanoVLM's files. */
export const nanoVLM: ModelFamily = {
  name: "nanoVLM",
  modelTypes: ["", "nanovlm"],
  parseConfig: parseVLMConfig,
  formatConfig,
  toFileName: (name) => name,
  toModelName: (name) => name,
  fileTensor: ({ lm_tie_weights }, { name }) =>
    lm_tie_weights && name === HEAD ? { name, aliases: [EMBEDDING] } : { name },
  ignoredTensors: ({ lm_tie_weights }) => lm_tie_weights ? [FREQUENCIES, EMBEDDING] : [FREQUENCIES],
  extraTensors(config) {
    const data = inverseFrequencies(config);
    return [{ name: FREQUENCIES, shape: [data.length], dtype: "F32", data }];
  },
  metadata: ({ lm_tie_weights }) => lm_tie_weights ? { [EMBEDDING]: HEAD } : undefined,
  openProcessing,
  processingOf,
  extraTokens: defaultExtraTokens,
  chatTemplate: DEFAULT_CHAT_TEMPLATE,
  fromBackbones: (config, tokenizer) => ({
    config,
    async writeFiles(folder) {
      await tokenizer?.save(folder);
      await ImageProcessor.fromConfig(config).save(folder);
    },
  }),
  pixelRange: [0, 1],
  companions: [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "preprocessor_config.json",
  ],
};
