/**
 * The products of fully connected layers (`../../fused_linear.ts`) on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { LinearKernels, LinearProduct } from "../../fused_linear.ts";
import { PackedWeight } from "../../half/packed_weight.ts";
import { gelu, runElements } from "../activations.ts";
import type { GemmFunction } from "./gemm.ts";
import { type Launch, launch, launchAll } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { multiplyPacked } from "./packed.ts";
import { runRange } from "../runtime/parts.ts";

/** Sum over all but the last dimension: [..., C] → [C]. */
export function columnSum(module: KernelModule, x: tf.Tensor): tf.Tensor {
  const C = x.shape[x.rank - 1];
  return launch(module, {
    name: "NanoColumnSum",
    inputs: { x },
    run: (l) => {
      const out = l.output([C]);
      const at = { x: l.address(x), out: l.address(out) };
      module.call("nano_column_sum", { rows: x.size / C, C, ...at });
      return [out];
    },
  });
}

/**
 * What follows the product: scale, bias and GELU, one kernel each. Bias and GELU in one pass were not
 * faster: the exponential dominates.
 */
function finish(l: Launch, { M, N, c, scale = 1, bias, activated }: LinearProduct): void {
  const { module } = l;
  const at = l.address(c);
  if (scale !== 1) {
    runElements(module, "nano_scale", M * N, { x: at }, { factor: scale });
  }
  if (bias !== undefined) {
    const row = l.address(bias);
    runRange(module, "nano_add_bias", M, N, (first, rows) => ({
      ...{ rows, columns: N, x: at + 4 * N * first, bias: row },
    }));
  }
  if (activated !== undefined) {
    runElements(module, "nano_gelu", M * N, { x: at, y: l.address(activated) });
  }
}

/** The kernels of fully connected layers. */
export function linearKernels(module: KernelModule, gemm: GemmFunction): LinearKernels<Launch> {
  return {
    prefix: "Nano",
    launchAll: (op) => launchAll(module, op),
    target: (l, shape, sum) => l.target(shape, sum),
    multiply: (l, product) => {
      const { kind, M, N, K, a, b, c, accumulate = false } = product;
      if (b instanceof PackedWeight) multiplyPacked(l, gemm, { ...product, b });
      else {
        // deno-fmt-ignore
        gemm({
          batch: 1, m: M, n: N, k: K, accumulate,
          a: l.address(a), aRow: kind === "tn" ? 1 : K, aColumn: kind === "tn" ? M : 1, aBatch: 0,
          b: l.address(b), bRow: kind === "nt" ? 1 : N, bColumn: kind === "nt" ? K : 1, bBatch: 0,
          c: l.address(c), cRow: N, cBatch: 0,
        });
      }
      finish(l, product);
    },
    columnSum: (x) => columnSum(module, x),
    gelu: (x, activated) => gelu(module, x, activated),
  };
}
