/**
 * tfjs's SplitV and Concat for the wasm backend, on a copy of rows: the stock ones copy a last
 * dimension at half a GB/s.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type Launch, launchOn } from "./launch.ts";
import type { KernelModule } from "./module.ts";
import { runRange } from "./parts.ts";
import { replaceKernel } from "../replace_kernel.ts";

/** A tensor seen as rows of the dims from `axis` on. */
interface Rows {
  readonly rows: number;
  /** Values of a row. */
  readonly width: number;
}

function rowsOf(shape: readonly number[], axis: number): Rows {
  const size = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);
  return { rows: size(shape.slice(0, axis)), width: size(shape.slice(axis)) };
}

/** Copies rows of `width` floats; each side's rows are `…Row` floats apart. */
function copyRows(
  module: KernelModule,
  { rows, width }: Rows,
  from: number,
  fromRow: number,
  to: number,
  toRow: number,
): void {
  if (rows * width === 0) return;
  runRange(module, "nano_copy_rows", rows, width, (row, count) => [
    count,
    width,
    from + 4 * fromRow * row,
    fromRow,
    to + 4 * toRow * row,
    toRow,
  ]);
}

/** x cut along `axis` into pieces of the given sizes. */
function split(
  launch: Launch,
  x: tf.TensorInfo,
  sizes: readonly number[],
  axis: number,
): tf.TensorInfo[] {
  const whole = rowsOf(x.shape, axis);
  let offset = 0;
  return sizes.map((size) => {
    const shape = x.shape.map((dim, i) => i === axis ? size : dim);
    const piece = rowsOf(shape, axis);
    const output = launch.output(shape);
    const from = launch.address(x) + 4 * offset;
    copyRows(launch.module, piece, from, whole.width, launch.address(output), piece.width);
    offset += piece.width;
    return output;
  });
}

/** Tensors that differ in the dim `axis` alone, side by side. */
function concat(launch: Launch, parts: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  const length = parts.reduce((sum, part) => sum + part.shape[axis], 0);
  const shape = parts[0].shape.map((dim, i) => i === axis ? length : dim);
  const whole = rowsOf(shape, axis);
  const output = launch.output(shape);
  let offset = 0;
  for (const part of parts) {
    const rows = rowsOf(part.shape, axis);
    const to = launch.address(output) + 4 * offset;
    copyRows(launch.module, rows, launch.address(part), rows.width, to, whole.width);
    offset += rows.width;
  }
  return output;
}

/** Puts our copies in the place of tfjs's; other types than float32 stay with tfjs. */
export function installCopyKernels(module: KernelModule): void {
  const tools = launchOn(module);
  const stockSplit = tf.getKernel("SplitV", "wasm");
  replaceKernel({
    kernelName: "SplitV",
    backendName: "wasm",
    kernelFunc: (parameters) => {
      const x = parameters.inputs.x as tf.TensorInfo;
      if (x.dtype !== "float32") return stockSplit.kernelFunc(parameters);
      const attributes = parameters.attrs as unknown as {
        numOrSizeSplits: number | number[];
        axis: number;
      };
      const [axis] = tf.util.parseAxisParam(attributes.axis, x.shape);
      const sizes = tf.backend_util.prepareSplitSize(
        x as tf.Tensor,
        attributes.numOrSizeSplits,
        axis,
      );
      return split(tools, x, sizes, axis);
    },
  });
  const stockConcat = tf.getKernel("Concat", "wasm");
  replaceKernel({
    kernelName: "Concat",
    backendName: "wasm",
    kernelFunc: (parameters) => {
      const parts = Object.values(parameters.inputs) as tf.TensorInfo[];
      const full = parts.filter((part) => part.shape.every((dim) => dim > 0));
      if (full.length < 2 || parts.some((part) => part.dtype !== "float32")) {
        return stockConcat.kernelFunc(parameters);
      }
      const { axis } = parameters.attrs as unknown as { axis: number };
      return concat(tools, full, tf.util.parseAxisParam(axis, parts[0].shape)[0]);
    },
  });
}
