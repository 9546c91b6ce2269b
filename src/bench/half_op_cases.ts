/**
 * The ops that work on numbers in 16 bits: packed weights, and those of a bf16 pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { embedding, gatherPackedRowsComposite } from "../ops/row_ops.ts";
import { float32ToBfloat16 } from "../ops/half/half_precision.ts";
import { linear, linearComposite, packedLinearComposite } from "../ops/linear.ts";
import { PackedWeight } from "../ops/half/packed_weight.ts";
import { withPrecision } from "../ops/half/precision.ts";
import { castHalf } from "../ops/half/round_half.ts";
import { swiglu } from "../ops/activations.ts";
import type { OpCase } from "./op_case.ts";

// N rows, I input features, O output features, V rows of a table, C channels

/** How large they are. */
export interface HalfOpSizes {
  readonly rows: number;
  readonly channels: number;
  readonly inner: number;
  readonly vocabulary: number;
}

const normal = (shape: number[]) => tf.randomNormal(shape, 0, 1, "float32", 7);

/** A packed weight of random numbers. */
function packedNormal(shape: readonly [number, number]): PackedWeight {
  const values = normal([...shape]);
  const bits = float32ToBfloat16(values.dataSync() as Float32Array);
  values.dispose();
  return new PackedWeight(bits, "BF16", shape);
}

const bf16 = (x: tf.Tensor): tf.Tensor => castHalf(x, "bf16");

/** Their cases. Composites are of float32 ops and roundings, which have kernels of ours on wasm. */
export function halfOpCases(
  { rows: N, channels: C, inner: I, vocabulary: V }: HalfOpSizes,
): OpCase[] {
  const packed = packedNormal([I, C]), table = packedNormal([V, C]);
  const ids = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
  const flops = 2 * N * C * I;
  return [
    {
      name: "linear, packed (decoder)",
      shape: `${N}×${C} → ${I}`,
      inputs: () => [normal([N, C])],
      fused: ([x]) => linear(x, packed),
      composite: ([x]) => packedLinearComposite(x, packed),
      flops,
      differentiable: true,
      dispose: () => packed.dispose(),
    },
    {
      name: "embedding, packed",
      shape: `${N} of ${V}×${C}`,
      inputs: () => [],
      fused: () => embedding(table, ids),
      composite: () => tf.tidy(() => gatherPackedRowsComposite(table, tf.tensor1d(ids, "int32"))),
      flops: null,
      bytes: 6 * N * C,
      differentiable: false,
      dispose: () => table.dispose(),
    },
    {
      name: "linear, bf16 pass",
      shape: `${N}×${C} → ${I}`,
      inputs: () => [normal([N, C]), normal([I, C])],
      fused: ([x, w]) => withPrecision("bf16", () => linear(x, w)),
      composite: ([x, w]) => bf16(linearComposite(bf16(x), bf16(w))),
      flops,
      differentiable: true,
    },
    {
      name: "swiglu, bf16 pass",
      shape: `${N}×${I}`,
      // What a layer of such a pass gives is rounded.
      inputs: () => [normal([N, I]), normal([N, I])].map((x) => tf.tidy(() => bf16(x))),
      fused: ([gate, up]) => withPrecision("bf16", () => swiglu(gate, up)),
      composite: ([gate, up]) => bf16(bf16(gate.mul(gate.sigmoid())).mul(up)),
      flops: null,
      bytes: 12 * N * I,
      differentiable: true,
    },
  ];
}
