/**
 * tfjs's BatchMatMul on webgpu: single matrices are multiplied by our products, so that the products
 * of composites run as fast as those of fused ops.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { replaceKernel } from "../../tape/replace_kernel.ts";
import { areGpuKernelsOn } from "../runtime/enabled.ts";
import { currentLaunch } from "../runtime/launch.ts";
import { multiply } from "../product/product.ts";

interface MatMulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Replaces tfjs's kernel, which still runs for what ours does not support. */
export function installMatMulKernel(): void {
  const stock = tf.getKernel("BatchMatMul", "webgpu");
  if (stock === undefined) return;
  replaceKernel({
    kernelName: "BatchMatMul",
    backendName: "webgpu",
    kernelFunc: (call) => {
      const { a, b } = call.inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
      const { transposeA, transposeB } = call.attrs as unknown as MatMulAttributes;
      const matrices = [a, b].every(({ shape }) => shape.slice(0, -2).every((dim) => dim === 1));
      const floats = a.dtype === "float32" && b.dtype === "float32";
      const empty = [a, b].some(({ shape }) => shape.includes(0));
      if (!areGpuKernelsOn() || !matrices || !floats || empty || (transposeA && transposeB)) {
        return stock.kernelFunc(call);
      }
      const [rows, inner] = a.shape.slice(-2);
      const [M, K] = transposeA ? [inner, rows] : [rows, inner];
      const N = b.shape[b.shape.length - (transposeB ? 2 : 1)];
      const l = currentLaunch();
      const outer = a.shape.length >= b.shape.length ? a.shape : b.shape;
      const c = l.output([...outer.slice(0, -2), M, N]);
      const kind = transposeA ? "tn" : transposeB ? "nt" : "nn";
      multiply(l, { kind, M, N, K, a, b, c });
      l.submitIfDue();
      return c;
    },
  });
}
