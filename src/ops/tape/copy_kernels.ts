/**
 * tfjs's SplitV and Concat as copies of rows, for backends whose own kernels are slow: stock tfjs
 * copies the last dimension value by value.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../element_count.ts";
import { replaceKernel } from "./replace_kernel.ts";

/** A tensor seen as a matrix: the dims before an axis are its rows. */
export interface Rows {
  readonly rows: number;
  /** Values of a row. */
  readonly width: number;
}

/** Where rows begin: at a value of a tensor, and then every `stride` values. */
export interface RowPlace {
  readonly tensor: tf.TensorInfo;
  readonly offset: number;
  readonly stride: number;
}

/** How a backend copies. */
export interface CopyTools {
  /** A new float32 tensor, its values undefined, stored as `sources` are if all of them are alike. */
  output(shape: readonly number[], sources: readonly tf.TensorInfo[]): tf.TensorInfo;
  copyRows(rows: Rows, from: RowPlace, to: RowPlace): void;
}

function rowsOf(shape: readonly number[], axis: number): Rows {
  return { rows: elementCount(shape.slice(0, axis)), width: elementCount(shape.slice(axis)) };
}

/** x cut along `axis` into pieces of the given sizes. */
function split(
  tools: CopyTools,
  x: tf.TensorInfo,
  sizes: readonly number[],
  axis: number,
): tf.TensorInfo[] {
  const stride = rowsOf(x.shape, axis).width;
  let offset = 0;
  return sizes.map((size) => {
    const shape = x.shape.map((dim, i) => i === axis ? size : dim);
    const piece = rowsOf(shape, axis);
    const tensor = tools.output(shape, [x]);
    tools.copyRows(
      piece,
      { tensor: x, offset, stride },
      { tensor, offset: 0, stride: piece.width },
    );
    offset += piece.width;
    return tensor;
  });
}

/** Tensors that differ in the dim `axis` alone, side by side. */
function concat(tools: CopyTools, parts: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  const length = parts.reduce((sum, part) => sum + part.shape[axis], 0);
  const shape = parts[0].shape.map((dim, i) => i === axis ? length : dim);
  const stride = rowsOf(shape, axis).width;
  const tensor = tools.output(shape, parts);
  let offset = 0;
  for (const part of parts) {
    const piece = rowsOf(part.shape, axis);
    tools.copyRows(
      piece,
      { tensor: part, offset: 0, stride: piece.width },
      { tensor, offset, stride },
    );
    offset += piece.width;
  }
  return tensor;
}

/**
 * Replaces tfjs's kernels by our copies; types other than float32 stay with tfjs.
 *
 * @param backendName of tfjs
 * @param tools called at every call; null: the stock kernel runs
 */
export function installCopyKernels(backendName: string, tools: () => CopyTools | null): void {
  const stockSplit = tf.getKernel("SplitV", backendName);
  replaceKernel({
    kernelName: "SplitV",
    backendName,
    kernelFunc: (call) => {
      const x = call.inputs.x as tf.TensorInfo;
      const ours = tools();
      if (ours === null || x.dtype !== "float32") return stockSplit.kernelFunc(call);
      const attributes = call.attrs as unknown as {
        numOrSizeSplits: number | number[];
        axis: number;
      };
      const [axis] = tf.util.parseAxisParam(attributes.axis, x.shape);
      const sizes = tf.backend_util.prepareSplitSize(
        x as tf.Tensor,
        attributes.numOrSizeSplits,
        axis,
      );
      if (sizes.includes(0) || x.shape.includes(0)) return stockSplit.kernelFunc(call);
      return split(ours, x, sizes, axis);
    },
  });
  const stockConcat = tf.getKernel("Concat", backendName);
  replaceKernel({
    kernelName: "Concat",
    backendName,
    kernelFunc: (call) => {
      const parts = Object.values(call.inputs) as tf.TensorInfo[];
      const full = parts.filter((part) => part.shape.every((dim) => dim > 0));
      const ours = tools();
      if (ours === null || full.length < 2 || parts.some(({ dtype }) => dtype !== "float32")) {
        return stockConcat.kernelFunc(call);
      }
      const { axis } = call.attrs as unknown as { axis: number };
      return concat(ours, full, tf.util.parseAxisParam(axis, parts[0].shape)[0]);
    },
  });
}
