import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { embedding } from "../../../src/ops/row_ops.ts";
import { headLogProbs } from "../../../src/ops/head.ts";
import { layerNorm, rmsNorm } from "../../../src/ops/norms.ts";
import { linear } from "../../../src/ops/linear.ts";
import { peakTensorBytes } from "../../../src/train/dry_run/peak_tensor_bytes.ts";
import { assertClose } from "../assert_close.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { kernels } from "../wasm/wasm_op.ts";
import { kernelTest } from "../webgpu/webgpu_op.ts";

const N = 9, C = 12, O = 20, V = 37;
const ids = Int32Array.from([3, 3, 36, 0, 5, 3, 8, 8, 1]);

/** Each op with inputs whose gradients its kernels add to what is there. */
const CASES: [name: string, op: Op, inputs: () => tf.Tensor[]][] = [
  [
    "linear",
    (x, weight, bias) => linear(x, weight, bias),
    () => [randomTensor([N, C], 1), randomTensor([O, C], 2), randomTensor([O], 3)],
  ],
  [
    "linear with a side branch",
    (x, weight, loraA, loraB) =>
      linear(x, weight, undefined, { branch: { loraA, loraB, scaling: 0.5 } }),
    () => [
      randomTensor([N, C], 1),
      randomTensor([O, C], 2),
      randomTensor([4, C], 3),
      randomTensor([O, 4], 4),
    ],
  ],
  [
    "linear with a side branch that reads something else",
    (x, weight, loraA, loraB, input) =>
      linear(x, weight, undefined, { branch: { loraA, loraB, scaling: 0.5, input } }),
    () => [
      randomTensor([N, C], 1),
      randomTensor([O, C], 2),
      randomTensor([4, C], 3),
      randomTensor([O, 4], 4),
      randomTensor([N, C], 5),
    ],
  ],
  [
    "RMSNorm",
    (x, weight) => rmsNorm(x, weight, 1e-5),
    () => [randomTensor([N, 13], 1), randomTensor([13], 2)],
  ],
  [
    "LayerNorm",
    (x, weight, bias) => layerNorm(x, weight, bias, 1e-5),
    () => [randomTensor([N, C], 1), randomTensor([C], 2), randomTensor([C], 3)],
  ],
  ["embedding", (table) => embedding(table, ids), () => [randomTensor([V, C], 1)]],
  [
    "head",
    (hidden, head) => headLogProbs(hidden as tf.Tensor2D, head as tf.Tensor2D, ids, 1.5),
    () => [randomTensor([N, C], 1), randomTensor([V, C], 2)],
  ],
];

/** Gradients on top of sums, beside the sums and the gradients by themselves. */
async function assertAdds(name: string, op: Op, inputs: tf.Tensor[], tolerance = 1e-5) {
  const loss = () => op(...inputs).square().sum();
  const alone = valueAndGradients(loss, inputs);
  const sums = inputs.map(({ shape }, i) => randomTensor(shape, 70 + i));
  const before = await readBack(sums);
  const onTop = valueAndGradients(loss, inputs, undefined, sums);
  const gradients = [...alone.gradients, ...onTop.gradients] as tf.Tensor[];
  const values = await readBack(gradients);
  inputs.forEach((_, i) => {
    const want = values[i].map((value, j) => value + before[i][j]);
    assertClose(values[inputs.length + i], want, tolerance, `${name}, gradient ${i}`);
  });
  const inPlace = onTop.gradients.filter((gradient, i) => gradient === sums[i]).length;
  tf.dispose([inputs, alone.value, onTop.value, gradients]);
  return inPlace;
}

Deno.test("gradients are added to sums in place on wasm", async () => {
  await kernels();
  const before = tf.memory().numTensors;
  for (const [name, op, inputs] of CASES) {
    const tensors = inputs();
    assertEquals(await assertAdds(name, op, tensors), tensors.length, name);
  }
  assertEquals(tf.memory().numTensors, before);
});

kernelTest("gradients are added to sums in place", async () => {
  for (const [name, op, inputs] of CASES) {
    const tensors = inputs();
    assertEquals(await assertAdds(name, op, tensors, 2e-5), tensors.length, name);
  }
});

Deno.test("a sum whose values something else holds stays as it is", async () => {
  await kernels();
  const [x, weight] = [randomTensor([N, C], 1), randomTensor([O, C], 2)];
  const sum = randomTensor([O, C], 3);
  const shared = sum.clone();
  const before = await shared.data();
  const { value, gradients } = valueAndGradients(
    () => linear(x, weight).sum(),
    [weight],
    undefined,
    [sum],
  );
  assertEquals([...await shared.data()], [...before]);
  const added = await gradients[0]!.data();
  assert(added.some((number, i) => number !== before[i]));
  tf.dispose([x, weight, shared, value, gradients as tf.Tensor[]]);
});

Deno.test("a table that is embedding and head has one gradient at a time", async () => {
  await kernels();
  const rows = 20_000;
  const table = randomTensor([rows, C], 1);
  const some = Int32Array.from({ length: 3 }, (_, i) => 1000 * i);
  const { result, peakBytes } = await peakTensorBytes(() =>
    Promise.resolve(valueAndGradients(
      () => headLogProbs(embedding(table, some), table as tf.Tensor2D, some).sum(),
      [table],
    ))
  );
  const tables = peakBytes / (4 * rows * C);
  assert(tables > 1 && tables < 1.1, `${tables} times the table`);
  tf.dispose([table, result.value, result.gradients as tf.Tensor[]]);
});
