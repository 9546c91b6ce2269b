/**
 * SmolVLM's names of weights and layers, both ways.
 *
 * @module
 */

/** The model's name and the file's; `#` is a block's number. Longer names first. */
const NAMES: readonly (readonly [model: string, file: string])[] = [
  ["decoder.blocks.#.attn.out_proj", "model.text_model.layers.#.self_attn.o_proj"],
  ["decoder.blocks.#.attn", "model.text_model.layers.#.self_attn"],
  ["decoder.blocks.#.norm1", "model.text_model.layers.#.input_layernorm"],
  ["decoder.blocks.#.norm2", "model.text_model.layers.#.post_attention_layernorm"],
  ["decoder.blocks.#", "model.text_model.layers.#"],
  ["decoder.token_embedding", "model.text_model.embed_tokens"],
  ["decoder.head", "lm_head"],
  ["decoder.norm", "model.text_model.norm"],
  ["decoder", "model.text_model"],
  ["MP.proj", "model.connector.modality_projection.proj"],
  ["MP", "model.connector"],
  ["vision_encoder.blocks.#.attn", "model.vision_model.encoder.layers.#.self_attn"],
  ["vision_encoder.blocks.#.ln1", "model.vision_model.encoder.layers.#.layer_norm1"],
  ["vision_encoder.blocks.#.ln2", "model.vision_model.encoder.layers.#.layer_norm2"],
  ["vision_encoder.blocks.#", "model.vision_model.encoder.layers.#"],
  [
    "vision_encoder.patch_embedding.position_embedding",
    "model.vision_model.embeddings.position_embedding.weight",
  ],
  ["vision_encoder.patch_embedding.conv", "model.vision_model.embeddings.patch_embedding"],
  ["vision_encoder.patch_embedding", "model.vision_model.embeddings"],
  ["vision_encoder.layer_norm", "model.vision_model.post_layernorm"],
  ["vision_encoder", "model.vision_model"],
];

/** A pattern for a name or the beginning of one, up to a dot. */
function pattern(name: string): RegExp {
  return new RegExp(`^${name.replaceAll(".", "\\.").replace("#", "(\\d+)")}(?=\\.|$)`);
}

function replacer(from: 0 | 1): (name: string) => string {
  const rules = NAMES.map((pair) => ({
    pattern: pattern(pair[from]),
    to: pair[1 - from].replace("#", "$1"),
  }));
  return (name) => {
    const rule = rules.find(({ pattern }) => pattern.test(name));
    return rule ? name.replace(rule.pattern, rule.to) : name;
  };
}

/** The file's name of a weight, layer or part of the model. */
export const toFileName: (name: string) => string = replacer(0);

/** The model's name of a weight, layer or part in a file; others stay as they are. */
export const toModelName: (name: string) => string = replacer(1);
