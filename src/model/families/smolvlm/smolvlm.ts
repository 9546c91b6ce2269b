/**
 * The family SmolVLM: folders of Transformers' `SmolVLMForConditionalGeneration` and
 * `Idefics3ForConditionalGeneration`.
 *
 * @module
 */
import type { ModelFamily } from "../model_family.ts";
import { formatConfig, parseConfig } from "./config.ts";
import { CHAT_TEMPLATE, extraTokens, fromBackbones } from "./from_backbones.ts";
import { toFileName, toModelName } from "./names.ts";
import { IMAGE_FILES, openProcessing, processingOf, TOKENIZER_FILES } from "./processing.ts";

const TABLE = "model.text_model.embed_tokens.weight";
const HEAD = "lm_head.weight";

/** SmolVLM's files, and Idefics3's, which are the same. */
export const smolVLM: ModelFamily = {
  name: "SmolVLM",
  modelTypes: ["smolvlm", "idefics3"],
  parseConfig,
  formatConfig,
  toFileName,
  toModelName,
  fileTensor(config, { name, shape }) {
    if (config.lm_tie_weights && name === "decoder.head.weight") {
      return { name: TABLE, aliases: [HEAD] };
    }
    return name.endsWith(".position_embedding")
      ? { name: toFileName(name), shape: shape.slice(1) }
      : { name: toFileName(name) };
  },
  ignoredTensors: ({ lm_tie_weights }) => [
    "model.vision_model.embeddings.position_ids",
    ...(lm_tie_weights ? [TABLE, HEAD] : []),
  ],
  extraTensors: () => [],
  metadata: () => ({ format: "pt" }),
  openProcessing,
  processingOf,
  extraTokens,
  chatTemplate: CHAT_TEMPLATE,
  fromBackbones,
  pixelRange: [-1, 1],
  companions: [...TOKENIZER_FILES, ...IMAGE_FILES],
};
