import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { headLogits, headOperands } from "../../src/model/language_head.ts";
import type { ForwardContext } from "../../src/model/linear_layer.ts";
import { DropoutKeys } from "../../src/ops/activations.ts";
import { PackedWeight } from "../../src/ops/half/packed_weight.ts";
import { packRounded } from "../../src/model/packed_weights.ts";
import { headLogProbs } from "../../src/ops/head.ts";
import { assertFiniteDifferences } from "../ops/finite_differences.ts";
import { randomTensor } from "../ops/random_tensor.ts";

// N rows, C channels, V vocabulary, r rank
const N = 5, C = 16, V = 37, r = 3;

/** A context that has the head alone. */
function headContext(
  W: tf.Tensor | PackedWeight,
  loraA: tf.Tensor,
  loraB: tf.Tensor,
  magnitude: tf.Tensor | null,
  dropout: number,
  seed = 4,
): ForwardContext {
  const adapter = { loraA, loraB, magnitude, scaling: 0.5, dropout };
  const name = "decoder.head.weight";
  return {
    weights: new Map(W instanceof PackedWeight ? [] : [[name, W]]),
    packed: new Map(W instanceof PackedWeight ? [[name, W]] : []),
    adapters: new Map([["decoder.head", adapter]]),
    dropoutKeys: dropout > 0 ? new DropoutKeys(seed, 0) : null,
    checkpointing: false,
  };
}

function tensors() {
  return {
    hidden: randomTensor([N, C], 1),
    W: randomTensor([V, C], 2),
    A: randomTensor([r, C], 3),
    B: randomTensor([V, r], 4),
    m: randomTensor([V], 5).abs().add(0.5) as tf.Tensor1D,
  };
}

async function assertSame(a: tf.Tensor, b: tf.Tensor, tolerance = 1e-4): Promise<void> {
  assertEquals(a.shape, b.shape);
  const [x, y] = await readBack([a, b]);
  x.forEach((value, i) => assert(Math.abs(value - y[i]) < tolerance, `${i}: ${value}, ${y[i]}`));
}

for (const backend of ["cpu", "wasm"] as const) {
  for (const kind of ["LoRA", "DoRA"]) {
    for (const dropout of [0, 0.4]) {
      Deno.test(`headOperands() give the logits of headLogits(): ${kind}, dropout ${dropout}, ${backend}`, async () => {
        await initBackend({ backend });
        const { hidden, W, A, B, m } = tensors();
        const context = () => headContext(W, A, B, kind === "DoRA" ? m : null, dropout);
        const operands = headOperands(context(), hidden as tf.Tensor2D);
        const product = tf.matMul(operands.hidden, operands.head as tf.Tensor2D, false, true);
        await assertSame(product, headLogits(context(), hidden));
      });
    }
  }

  Deno.test(`the gradients of an adapted head are those of finite differences: LoRA, ${backend}`, async () => {
    await initBackend({ backend });
    const targets = Int32Array.from({ length: N }, (_, i) => (7 * i) % V);
    for (const dropout of [0, 0.4]) {
      const op = (...[hidden, W, A, B]: tf.Tensor[]) => {
        const context = headContext(W, A, B, null, dropout);
        const operands = headOperands(context, hidden as tf.Tensor2D);
        return headLogProbs(operands.hidden, operands.head, targets, 0.7);
      };
      await assertFiniteDifferences(op, [[N, C], [V, C], [r, C], [V, r]], { tolerance: 5e-3 });
    }
  });

  Deno.test(`the gradients of DoRA's magnitudes on the head are those of finite differences, ${backend}`, async () => {
    await initBackend({ backend });
    const { W, A, B } = tensors();
    const targets = Int32Array.from({ length: N }, (_, i) => (7 * i) % V);
    for (const dropout of [0, 0.4]) {
      const op = (...[hidden, m]: tf.Tensor[]) => {
        const context = headContext(W, A, B, m, dropout);
        const operands = headOperands(context, hidden as tf.Tensor2D);
        return headLogProbs(operands.hidden, operands.head, targets);
      };
      await assertFiniteDifferences(op, [[N, C], [V]], { tolerance: 5e-3 });
    }
  });
}

Deno.test("an adapted head may be packed in 16 bits", async () => {
  await initBackend({ backend: "wasm" });
  const { hidden, W, A, B, m } = tensors();
  const data = Float32Array.from(await W.data());
  const host = packRounded({ shape: [V, C], data }, "BF16")!;
  const packed = new PackedWeight(host.bits, "BF16", [V, C]);
  for (const magnitude of [null, m]) {
    const context = headContext(packed, A, B, magnitude, 0);
    const operands = headOperands(context, hidden as tf.Tensor2D);
    const product = tf.matMul(operands.hidden, operands.head as tf.Tensor2D, false, true);
    await assertSame(product, headLogits(context, hidden));
  }
  packed.dispose();
});
