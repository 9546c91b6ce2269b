import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { toModelBatch } from "../../src/model/batch.ts";
import { defaultVLMConfig } from "../../src/vlm_config.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { lossGradients } from "../../src/train/loop/gradients.ts";

const config = {
  ...defaultVLMConfig(),
  vit_hidden_dim: 16,
  vit_inter_dim: 32,
  vit_patch_size: 4,
  vit_img_size: 8,
  vit_n_heads: 2,
  vit_n_blocks: 2,
  lm_hidden_dim: 16,
  lm_inter_dim: 32,
  lm_n_heads: 4,
  lm_n_kv_heads: 2,
  lm_n_blocks: 2,
  lm_base_vocab_size: 20,
  lm_vocab_size: 24,
  mp_pixel_shuffle_factor: 2,
  mp_image_token_length: 1,
};

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`gradient checkpointing changes no gradient on ${backend}`, async () => {
    await initBackend({ backend });
    const model = VisionLanguageModel.fromConfig(config, { seed: 1 });
    const run = async (checkpointing: boolean) => {
      const batch = toModelBatch({
        inputIds: [[20, 3, 4, 5, 6]],
        labels: [[-100, -100, 5, 6, 7]],
        images: [{ tiles: new Float32Array(3 * 8 * 8).map((_, i) => (i % 7) / 7), tileCount: 1 }],
      }, config);
      const { loss, gradients } = lossGradients(
        () => model.labelLogProbs(batch, { checkpointing })!.sum().neg() as tf.Scalar,
        model.weights,
      );
      const values = await readBack([loss, ...gradients.values()]);
      tf.dispose([loss, ...gradients.values()]);
      batch.dispose();
      return { names: [...gradients.keys()], values };
    };
    const before = tf.memory().numTensors;
    const plain = await run(false), checkpointed = await run(true);
    assertEquals(tf.memory().numTensors, before);
    assertEquals(checkpointed.names, plain.names);
    plain.values.forEach((values, i) =>
      values.forEach((value, j) => assert(Math.abs(value - checkpointed.values[i][j]) < 1e-5))
    );
    model.dispose();
  });
}
