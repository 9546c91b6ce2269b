/**
 * tfjs's BatchMatMul and _FusedMatMul for the wasm backend, on our product: stock tfjs multiplies a
 * transposed operand at 1–2 GFLOP/s, and every backward pass has one.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../../element_count.ts";
import type { Gemm, GemmFunction } from "./gemm.ts";
import { type Launch, launchOn } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { replaceKernel } from "../../tape/replace_kernel.ts";

interface MatMulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

interface Operand {
  readonly info: tf.TensorInfo;
  readonly transpose: boolean;
}

/** For each matrix of the output, which matrix of an operand it takes. */
function batchIndices(outer: readonly number[], full: readonly number[]): number[] {
  const strides: number[] = new Array(full.length).fill(0);
  let stride = 1;
  for (let i = 1; i <= outer.length; i++) {
    const size = outer[outer.length - i];
    strides[full.length - i] = size === 1 ? 0 : stride;
    stride *= size;
  }
  const indices: number[] = [];
  for (let flat = 0; flat < elementCount(full); flat++) {
    let rest = flat;
    let index = 0;
    for (let d = full.length - 1; d >= 0; d--) {
      index += (rest % full[d]) * strides[d];
      rest = Math.floor(rest / full[d]);
    }
    indices.push(index);
  }
  return indices;
}

/** The common step of an index sequence; null if it has none. */
function regularStep(indices: readonly number[]): number | null {
  if (indices.length < 2) return 0;
  const step = indices[1] - indices[0];
  return indices.every((value, i) => value === indices[0] + i * step) ? step : null;
}

/** c = op(a) op(b) with broadcast batch dims, as tf.matMul defines it. */
function batchMatMul(
  launch: Launch,
  gemm: GemmFunction,
  a: Operand,
  b: Operand,
): tf.TensorInfo {
  const aShape = a.info.shape;
  const bShape = b.info.shape;
  const [aRows, aColumns] = aShape.slice(-2);
  const [bRows, bColumns] = bShape.slice(-2);
  const m = a.transpose ? aColumns : aRows;
  const k = a.transpose ? aRows : aColumns;
  const n = b.transpose ? bRows : bColumns;
  const bDepth = b.transpose ? bColumns : bRows;
  if (k !== bDepth) {
    throw new Error(
      `Cannot multiply [${aShape}] by [${bShape}] with transposeA=${a.transpose} and ` +
        `transposeB=${b.transpose}: the inner dims are ${k} and ${bDepth}.`,
    );
  }
  const aOuter = aShape.slice(0, -2);
  const bOuter = bShape.slice(0, -2);
  const outer = tf.broadcast_util.assertAndGetBroadcastShape(aOuter, bOuter);
  const output = launch.output([...outer, m, n]);
  const batch = elementCount(outer);
  if (batch * m * n === 0) return output;
  const call: Gemm = {
    batch,
    m,
    n,
    k,
    a: launch.address(a.info),
    aRow: a.transpose ? 1 : aColumns,
    aColumn: a.transpose ? aColumns : 1,
    aBatch: m * k,
    b: launch.address(b.info),
    bRow: b.transpose ? 1 : bColumns,
    bColumn: b.transpose ? bColumns : 1,
    bBatch: n * k,
    c: launch.address(output),
    cRow: n,
    cBatch: m * n,
    accumulate: false,
  };
  if (elementCount(bOuter) === 1 && !a.transpose) {
    // One matrix b for every row of a: a single product of more rows.
    gemm({ ...call, batch: 1, m: batch * m });
    return output;
  }
  const aIndices = batchIndices(aOuter, outer);
  const bIndices = batchIndices(bOuter, outer);
  const aStep = regularStep(aIndices);
  const bStep = regularStep(bIndices);
  if (aStep !== null && bStep !== null) {
    gemm({ ...call, aBatch: aStep * m * k, bBatch: bStep * n * k });
    return output;
  }
  for (let i = 0; i < batch; i++) {
    gemm({
      ...call,
      batch: 1,
      a: call.a + aIndices[i] * m * k * 4,
      b: call.b + bIndices[i] * n * k * 4,
      c: call.c + i * m * n * 4,
    });
  }
  return output;
}

interface FusedAttributes extends MatMulAttributes {
  readonly activation?: "linear" | "relu" | "relu6" | "prelu" | "leakyrelu" | "sigmoid" | "elu";
  readonly leakyreluAlpha?: number;
}

/** Ours multiply float32; tfjs's kernels handle other types. */
function areFloats(...operands: readonly tf.TensorInfo[]): boolean {
  return operands.every(({ dtype }) => dtype === "float32");
}

/** Replaces tfjs's products on the wasm backend by ours. */
export function installMatMulKernels(module: KernelModule, gemm: GemmFunction): void {
  const tools = launchOn(module);
  const stock = tf.getKernel("BatchMatMul", "wasm");
  const stockFused = tf.getKernel("_FusedMatMul", "wasm");
  replaceKernel({
    kernelName: "BatchMatMul",
    backendName: "wasm",
    kernelFunc: (parameters) => {
      const { inputs, attrs } = parameters;
      const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
      if (!areFloats(a, b)) return stock.kernelFunc(parameters);
      const { transposeA, transposeB } = attrs as unknown as MatMulAttributes;
      return batchMatMul(
        tools,
        gemm,
        { info: a, transpose: transposeA },
        { info: b, transpose: transposeB },
      );
    },
  });
  replaceKernel({
    kernelName: "_FusedMatMul",
    backendName: "wasm",
    kernelFunc: (parameters) => {
      const { inputs, attrs } = parameters;
      const { transposeA, transposeB, activation } = attrs as unknown as FusedAttributes;
      const bias = inputs.bias as tf.TensorInfo | undefined;
      const a = inputs.a as tf.TensorInfo;
      const b = inputs.b as tf.TensorInfo;
      const n = transposeB ? b.shape.at(-2) : b.shape.at(-1);
      const plainBias = bias === undefined || elementCount(bias.shape) === n;
      const plain = plainBias && (activation === undefined || activation === "linear");
      if (!plain || !areFloats(a, b, ...bias === undefined ? [] : [bias])) {
        return stockFused.kernelFunc(parameters);
      }
      const output = batchMatMul(
        tools,
        gemm,
        { info: a, transpose: transposeA },
        { info: b, transpose: transposeB },
      );
      if (bias !== undefined && n !== undefined && n > 0) {
        const rows = elementCount(output.shape) / n;
        const at = { x: tools.address(output), bias: tools.address(bias) };
        module.call("nano_add_bias", { rows, columns: n, ...at });
      }
      return output;
    },
  });
}
