import { assertEquals, assertThrows } from "@std/assert";
import { ModelConfigError } from "../../../src/model/families/check_config.ts";
import { familyOf, familyOfType, fileNamesOf } from "../../../src/model/families/families.ts";
import { defaultVLMConfig } from "../../../src/vlm_config.ts";

Deno.test("model_type chooses the family, and none is nanoVLM's", () => {
  assertEquals(familyOfType("", "config.json").name, "nanoVLM");
  assertEquals(familyOfType("nanovlm", "config.json").name, "nanoVLM");
  assertEquals(familyOfType("smolvlm", "config.json").name, "SmolVLM");
  assertEquals(familyOfType("idefics3", "config.json").name, "SmolVLM");
  assertEquals(familyOf(defaultVLMConfig()).name, "nanoVLM");
});

Deno.test("an unknown model_type is refused, with the known ones", () => {
  const error = assertThrows(() => familyOfType("llava", "a/config.json"), ModelConfigError);
  assertEquals(error.message.includes('"llava", want one of nanovlm, smolvlm, idefics3'), true);
});

Deno.test("fileNamesOf() has every family's name, PEFT's prefix in front", () => {
  assertEquals(fileNamesOf("base_model.model.decoder.blocks.1.attn.out_proj.lora_A.weight"), [
    "base_model.model.decoder.blocks.1.attn.out_proj.lora_A.weight",
    "base_model.model.model.text_model.layers.1.self_attn.o_proj.lora_A.weight",
  ]);
  // A tied head is saved under the embedding's name; an untied one comes first.
  assertEquals(fileNamesOf("decoder.head.weight"), [
    "decoder.head.weight",
    "decoder.token_embedding.weight",
    "lm_head.weight",
    "model.text_model.embed_tokens.weight",
  ]);
});
