import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { peakTensorBytes } from "../../src/train/dry_run/peak_tensor_bytes.ts";
import { tinyConfig } from "../generate/tiny_model.ts";

/** The most bytes of a pass of the vision encoder and of the decoder with that many blocks. */
async function peaks(blocks: number): Promise<number[]> {
  const config = { ...tinyConfig, vit_n_blocks: blocks, lm_n_blocks: blocks };
  const model = VisionLanguageModel.fromConfig(config, { seed: 1 });
  const images = tf.ones([1, 3, config.vit_img_size, config.vit_img_size]) as tf.Tensor4D;
  const measure = async (run: () => tf.Tensor) =>
    (await peakTensorBytes(() => Promise.resolve(tf.dispose(tf.tidy(run))))).peakBytes;
  const found = [
    await measure(() => model.imageFeatures(images)),
    await measure(() => model.forward({ inputIds: [[5, 6, 7, 8]] }).logits!),
  ];
  images.dispose();
  model.dispose();
  return found;
}

Deno.test("a pass without gradients holds one block's tensors, however many blocks there are", async () => {
  await initBackend({ backend: "wasm" });
  const [vision, decoder] = await peaks(2);
  const [visionOfSix, decoderOfSix] = await peaks(6);
  assert(vision > 0 && decoder > 0);
  assertEquals([visionOfSix, decoderOfSix], [vision, decoder]);
});
