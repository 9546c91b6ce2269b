import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import {
  OPTIMIZER_NAMES,
  type OptimizerName,
} from "../../../src/config/schema/optimizer/optimizer_names.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { optimizerBytes } from "../../../src/train/dry_run/optimizer_bytes.ts";
import { ADAMW_DEFAULTS, Optimizer } from "../../../src/train/optimizer/optimizer.ts";

await initBackend({ backend: "wasm" });

/** A matrix of 100 × 100 and a vector of 100. */
function parameters(): Map<string, tf.Variable> {
  return new Map([[100, 100], [100]].map((shape) => [
    `decoder.blocks.0.${shape.length}.weight`,
    tf.tidy(() => tf.variable(tf.zeros(shape), false)),
  ]));
}

const EXPECTED: Readonly<Record<OptimizerName, number>> = {
  adamw_torch: 8 * 10_000 + 800,
  // 40 blocks of 256 with a scale each.
  adamw_bnb_8bit: 2 * (10_000 + 4 * 40) + 800,
  lion_32bit: 4 * 10_000 + 400,
  lion_8bit: 10_000 + 4 * 40 + 400,
  adafactor: 4 * 200 + 400,
  schedule_free_adamw: 8 * 10_000 + 800,
  muon: 4 * 10_000 + 800,
};

for (const name of OPTIMIZER_NAMES) {
  Deno.test(`optimizerBytes() counts the state that ${name} makes`, async () => {
    const trained = parameters();
    const { stateBytes } = optimizerBytes(trained, { ...ADAMW_DEFAULTS, name }, "wasm");
    assertEquals(stateBytes, EXPECTED[name]);
    const group = { name: "g", learningRate: 1, weightDecay: 0, parameters: trained };
    const optimizer = new Optimizer([group], { ...ADAMW_DEFAULTS, name });
    const { arrays } = await optimizer.state();
    let bytes = 0;
    for (const [key, { data }] of arrays) {
      // The weights that train are a part of the checkpoint, not of the memory.
      if (!key.startsWith("y.")) bytes += data.byteLength;
    }
    assertEquals(bytes, stateBytes);
    optimizer.dispose();
    tf.dispose([...trained.values()]);
  });
}
