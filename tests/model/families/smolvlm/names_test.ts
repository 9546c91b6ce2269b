import { assertEquals } from "@std/assert";
import { toFileName, toModelName } from "../../../../src/model/families/smolvlm/names.ts";

const PAIRS: readonly [model: string, file: string][] = [
  [
    "decoder.blocks.12.attn.out_proj.weight",
    "model.text_model.layers.12.self_attn.o_proj.weight",
  ],
  ["decoder.blocks.0.attn.q_proj", "model.text_model.layers.0.self_attn.q_proj"],
  [
    "decoder.blocks.3.mlp.down_proj.lora_A.weight",
    "model.text_model.layers.3.mlp.down_proj.lora_A.weight",
  ],
  ["decoder.blocks.3.norm1.weight", "model.text_model.layers.3.input_layernorm.weight"],
  ["decoder.blocks.3.norm2.weight", "model.text_model.layers.3.post_attention_layernorm.weight"],
  ["decoder.token_embedding.weight", "model.text_model.embed_tokens.weight"],
  ["decoder.norm.weight", "model.text_model.norm.weight"],
  ["decoder.head.weight", "lm_head.weight"],
  ["MP.proj.weight", "model.connector.modality_projection.proj.weight"],
  ["MP", "model.connector"],
  [
    "vision_encoder.patch_embedding.position_embedding",
    "model.vision_model.embeddings.position_embedding.weight",
  ],
  [
    "vision_encoder.patch_embedding.conv.bias",
    "model.vision_model.embeddings.patch_embedding.bias",
  ],
  [
    "vision_encoder.blocks.1.attn.out_proj.bias",
    "model.vision_model.encoder.layers.1.self_attn.out_proj.bias",
  ],
  ["vision_encoder.blocks.1.ln1.bias", "model.vision_model.encoder.layers.1.layer_norm1.bias"],
  ["vision_encoder.layer_norm.weight", "model.vision_model.post_layernorm.weight"],
  ["vision_encoder", "model.vision_model"],
];

Deno.test("each of SmolVLM's names leads to the model's and back", () => {
  for (const [model, file] of PAIRS) {
    assertEquals(toFileName(model), file);
    assertEquals(toModelName(file), model);
  }
});

Deno.test("a name that only begins like another is left alone", () => {
  assertEquals(toModelName("lm_headless.weight"), "lm_headless.weight");
  assertEquals(toFileName("MPX.proj"), "MPX.proj");
});
