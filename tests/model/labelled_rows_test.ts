import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { toModelBatch } from "../../src/model/batch.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { lossGradients } from "../../src/train/loop/gradients.ts";
import { IMAGE, tinyConfig as config } from "../generate/tiny_model.ts";

const S = config.vit_img_size;
const pixels = Float32Array.from({ length: 2 * 3 * S * S }, (_, i) => (i * 37 % 256) / 255);

/** Two rows with a picture each, the first padded on the left; `labelled` tells which tokens count. */
function inputs(labelled: (token: number) => boolean) {
  const ids = [
    [0, 0, 1, IMAGE, IMAGE, IMAGE, IMAGE, 7, 8, 9],
    [1, IMAGE, IMAGE, IMAGE, IMAGE, 7, 5, 6, 3, 9],
  ];
  return {
    inputIds: ids,
    attentionMask: ids.map((row) => row.map((id) => id === 0 ? 0 : 1)),
    images: tf.tensor4d(pixels, [2, 3, S, S]),
    labels: ids.map((row, b) =>
      row.map((_, i) => labelled(i + b) && i > 2 ? row[(i + 1) % 10] % 20 : -100)
    ),
  };
}

for (const checkpointing of [false, true]) {
  for (const name of ["cpu", "wasm"] as const) {
    Deno.test(`labels alone behind the last attention: values and gradients of all tokens (${name}, checkpointing ${checkpointing})`, async () => {
      await initBackend({ backend: name });
      const model = VisionLanguageModel.fromConfig(config, { seed: 3 });
      const given = inputs((token) => token % 4 === 0);
      const batch = toModelBatch(given, config);
      let observed = 0;
      const measure = async (observe?: (name: string, output: tf.Tensor) => void) => {
        const values = tf.tidy(() => model.labelLogProbs(batch, { observe, checkpointing })!);
        const weights = tf.range(1, values.size + 1);
        const { loss, gradients } = lossGradients(
          () =>
            model.labelLogProbs(batch, { observe, checkpointing })!.mul(weights).sum() as tf.Scalar,
          model.weights,
        );
        const read = await readBack([values, loss, ...gradients.values()]);
        tf.dispose([values, weights, loss, ...gradients.values()]);
        return { names: [...gradients.keys()], read };
      };
      const few = await measure();
      // Who observes sees every token.
      const all = await measure((_, output) => observed = Math.max(observed, output.size));
      assertEquals(observed, 2 * 10 * config.lm_hidden_dim);
      assertEquals(few.names, all.names);
      for (const [i, tensor] of all.read.entries()) {
        const values = Array.from(tensor);
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
        const off = values.reduce(
          (most, value, j) => Math.max(most, Math.abs(value - few.read[i][j])),
          0,
        );
        assert(off <= 1e-5 * largest, `${few.names[i - 2] ?? "log-probabilities"}: ${off}`);
      }
      batch.dispose();
      given.images.dispose();
      model.dispose();
    });
  }
}

Deno.test("a batch without labels has no log-probabilities, one with all labels has them all", async () => {
  await initBackend({ backend: "wasm" });
  const model = VisionLanguageModel.fromConfig(config, { seed: 3 });
  for (const [labelled, count] of [[() => false, null], [() => true, 14]] as const) {
    const given = inputs(labelled);
    const batch = toModelBatch(given, config);
    const values = model.labelLogProbs(batch);
    assertEquals(values?.size ?? null, count);
    values?.dispose();
    batch.dispose();
    given.images.dispose();
  }
  model.dispose();
});
