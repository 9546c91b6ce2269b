import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ModelConfigError } from "../../../../src/model/families/check_config.ts";
import { formatConfig, parseConfig } from "../../../../src/model/families/smolvlm/config.ts";

const JSON_4 = {
  model_type: "smolvlm",
  torch_dtype: "bfloat16",
  image_token_id: 550,
  scale_factor: 2,
  tie_word_embeddings: false,
  text_config: {
    model_type: "llama",
    torch_dtype: "bfloat16",
    hidden_size: 64,
    intermediate_size: 128,
    num_attention_heads: 4,
    num_hidden_layers: 3,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-5,
    rope_theta: 100000,
    vocab_size: 556,
    some_later_key: "kept",
  },
  vision_config: {
    hidden_size: 48,
    image_size: 32,
    intermediate_size: 96,
    num_attention_heads: 3,
    num_hidden_layers: 2,
    patch_size: 8,
  },
};

Deno.test("parseConfig() reads the spellings of Transformers 4 and 5", () => {
  const four = parseConfig(JSON_4, "config.json");
  assertEquals(four.lm_re_base, 100000);
  assertEquals(four.mp_image_token_length, 4);
  assertEquals(four.lm_max_position_embeddings, 2048); // Transformers' default
  const { rope_theta: _, ...text } = JSON_4.text_config;
  const five = parseConfig({
    ...JSON_4,
    text_config: { ...text, rope_parameters: { rope_theta: 100000, rope_type: "default" } },
  }, "config.json");
  assertEquals({ ...five, family_config: null }, { ...four, family_config: null });
});

for (
  const [what, change, said] of [
    ["another decoder", { text_config: { model_type: "qwen2" } }, "model_type"],
    ["scaled rotary embeddings", {
      text_config: { ...JSON_4.text_config, rope_scaling: { rope_type: "yarn" } },
    }, "rotary"],
    ["biases", { text_config: { ...JSON_4.text_config, attention_bias: true } }, "attention_bias"],
    ["another activation", {
      vision_config: { ...JSON_4.vision_config, hidden_act: "gelu" },
    }, "hidden_act"],
    ["a size that is no number", {
      vision_config: { ...JSON_4.vision_config, image_size: "32" },
    }, "image_size"],
    ["patches that do not divide", { scale_factor: 3 }, "patches"],
  ] as [string, Record<string, unknown>, string][]
) {
  Deno.test(`parseConfig() refuses ${what}`, () => {
    const error = assertThrows(
      () => parseConfig({ ...JSON_4, ...change }, "config.json"),
      ModelConfigError,
    );
    assertStringIncludes(error.message, said);
  });
}

Deno.test("formatConfig() keeps unknown keys, and names the type of the weights beside it", () => {
  const config = parseConfig(JSON_4, "config.json");
  const written = JSON.parse(formatConfig(config, "F32"));
  assertEquals(written.torch_dtype, "float32");
  assertEquals(written.text_config.torch_dtype, "float32");
  assertEquals(written.text_config.some_later_key, "kept");
  assertEquals(JSON.parse(formatConfig(config, "F16")).torch_dtype, "float16");
});

Deno.test("formatConfig() names the text model's architecture, which llama.cpp's converter needs", () => {
  const written = JSON.parse(formatConfig(parseConfig(JSON_4, "config.json"), "F32"));
  assertEquals(written.text_config.architectures, ["LlamaForCausalLM"]);
  const named = { ...JSON_4.text_config, architectures: ["VLlama3ForCausalLM"] };
  const kept = parseConfig({ ...JSON_4, text_config: named }, "config.json");
  assertEquals(JSON.parse(formatConfig(kept, "F32")).text_config.architectures, [
    "VLlama3ForCausalLM",
  ]);
});
