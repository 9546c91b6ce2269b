import { assert, assertEquals } from "@std/assert";
import { expectedShapes, weightSpecs } from "../../../../src/model/weight_shapes.ts";
import { ADAMW_DEFAULTS } from "../../../../src/train/optimizer/optimizer.ts";
import { makeRule } from "../../../../src/train/optimizer/rules/make_rule.ts";
import { defaultVLMConfig } from "../../../../src/vlm_config.ts";

const config = { ...defaultVLMConfig(), lm_n_blocks: 1, vit_n_blocks: 1 };
const stateOf = (name: "muon" | "adamw_bnb_8bit" | "adafactor") => {
  const rule = makeRule({ ...ADAMW_DEFAULTS, name });
  return (parameter: string, shape: readonly number[]) => rule.stateOf(parameter, shape);
};

Deno.test("Muon updates the linear layers of blocks and projector, and AdamW the rest", () => {
  for (const lm_tie_weights of [true, false]) {
    for (const { name, shape, kind } of weightSpecs({ ...config, lm_tie_weights })) {
      const isHidden = kind === "linear" && !name.startsWith("decoder.head.");
      const wanted = isHidden ? ["momentum_buffer"] : ["exp_avg", "exp_avg_sq"];
      assertEquals(Object.keys(stateOf("muon")(name, shape)), wanted, name);
    }
  }
});

Deno.test("Muon updates adapters on hidden layers; AdamW DoRA's magnitudes and a head's adapter", () => {
  const keys = (name: string, shape: number[]) =>
    Object.keys(stateOf("muon")(`base_model.model.decoder.${name}`, shape));
  const block = "blocks.0.attn.q_proj";
  assertEquals(keys(`${block}.lora_A.weight`, [8, 64]), ["momentum_buffer"]);
  assertEquals(keys(`${block}.lora_B.weight`, [64, 8]), ["momentum_buffer"]);
  assertEquals(keys(`${block}.lora_magnitude_vector`, [64]), ["exp_avg", "exp_avg_sq"]);
  assertEquals(keys("head.lora_A.weight", [8, 64]), ["exp_avg", "exp_avg_sq"]);
});

Deno.test("AdamW in 8 bits keeps 32 bits for embeddings, the head and small parameters", () => {
  const wide = [...expectedShapes({ ...config, lm_tie_weights: false })].flatMap(
    ([name, shape]) => {
      const { dtype } = stateOf("adamw_bnb_8bit")(name, shape).exp_avg;
      return dtype === "float32" ? [[name, shape.reduce((a, b) => a * b, 1)] as const] : [];
    },
  );
  const large = wide.filter(([, size]) => size >= 4096).map(([name]) => name);
  assertEquals(large, [
    "vision_encoder.patch_embedding.position_embedding",
    "decoder.token_embedding.weight",
    "decoder.head.weight",
  ]);
  assert(wide.length > large.length);
});

Deno.test("Adafactor keeps a mean of each row and of each column, of convolutions too", () => {
  const shapes = (shape: number[]) =>
    Object.values(stateOf("adafactor")("w", shape)).map((spec) => [...spec.shape]);
  assertEquals(shapes([7]), [[7]]);
  assertEquals(shapes([3, 5]), [[3], [5]]);
  assertEquals(shapes([8, 3, 2, 4]), [[8, 3, 2], [8, 3, 4]]);
});
