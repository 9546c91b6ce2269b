import { assert, assertAlmostEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { newtonSchulz, shapeRatio } from "../../../src/ops/updates/muon.ts";

await initBackend({ backend: "wasm" });

for (const shape of [[8, 8], [12, 5], [5, 12]] as const) {
  Deno.test(`newtonSchulz() of [${shape}] gives singular values near 1 in the same directions`, async () => {
    const [R, C] = shape;
    const matrix = tf.randomNormal([R, C], 0, 3, "float32", 4) as tf.Tensor2D;
    const made = newtonSchulz(matrix, 5);
    const small = Math.min(R, C);
    // O = U S Vᵀ with S in some 0.7 … 1.2: O's Gram matrix is near the identity.
    const gram = tf.matMul(made, made, R > C, R <= C);
    const values = await gram.array() as number[][];
    const trace = values.reduce((sum, row, i) => sum + row[i], 0);
    assert(trace / small > 0.5 && trace / small < 1.4, `mean of squares ${trace / small}`);
    values.forEach((row, i) =>
      row.forEach((value, j) => assert(i === j || Math.abs(value) < 0.5, `${value} at ${i}, ${j}`))
    );
    // The same directions: the inner product with the matrix is the sum of its singular values
    // times S, so above 0.6 of its largest possible value.
    const inner = (await tf.sum(tf.mul(made, matrix)).data())[0];
    const norm = (await tf.norm(matrix).data())[0];
    assert(inner > 0.6 * norm, `${inner} of ${norm}`);
    tf.dispose([matrix, made, gram]);
  });
}

Deno.test("shapeRatio() is Jordan's or Liu's factor", () => {
  assertAlmostEquals(shapeRatio("original", [8, 2]), 2);
  assertAlmostEquals(shapeRatio("original", [2, 8]), 1);
  assertAlmostEquals(shapeRatio("match_rms_adamw", [25, 4]), 1);
  assertAlmostEquals(shapeRatio("match_rms_adamw", [4, 25]), 1);
});
