/**
 * Attention on the wasm heap, without a [Tq, Tk] matrix.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import {
  type AttentionDims,
  attentionDims,
  type AttentionLayout,
} from "../attention/attention_layout.ts";
import type { Rotation } from "../attention/rotary_angles.ts";
import { type Launch, launch, launchAll, sharedGradients } from "./runtime/launch.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { type AttentionPart, attentionParts } from "./runtime/parts.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** Floats that a block of scores may take: half a MiB, which stays in a core's own cache. */
const SCORE_FLOATS = 128 * 1024;

/** Multiplications below which another thread does not pay. */
const THREADED_WORK = 1e6;

/** Queries at a time: a multiple of the product's four rows. */
function blockRows({ Tq, Tk, H, K }: AttentionDims): number {
  const rows = Math.max(4, Math.min(128, Math.floor(SCORE_FLOATS / Tk) & ~3));
  return Tq === 1 ? Math.max(rows, H / K) : rows;
}

function scratchFloats(
  module: KernelModule,
  dims: AttentionDims,
  matrices: number,
  turns: boolean,
): number {
  const rows = blockRows(dims);
  const scores = rows * Math.ceil(dims.Tk / 4) * 4;
  const turned = turns ? (rows + dims.Tk) * dims.D : 0;
  return module.kernel("nano_gemm_scratch_floats")() + matrices * scores + turned;
}

/** Runs `use` with the addresses of the layout's five arrays, 0 for one that there is not. */
function withLayout<T>(
  l: Launch,
  layout: AttentionLayout | null,
  use: (addresses: number[]) => T,
): T {
  if (layout === null) return use([0, 0, 0, 0, 0]);
  const { starts, prefixEnds, branchStarts, ends, rowOffsets } = layout;
  const arrays = [starts, prefixEnds, branchStarts, ends];
  return rowOffsets === null
    ? l.withIntegers(arrays, (addresses) => use([...addresses, 0]))
    : l.withIntegers([...arrays, rowOffsets], use);
}

/** Calls that together do all of it: one, or several for several threads. */
function partsOf(
  module: KernelModule,
  { B, N, Tk, H, K, D }: AttentionDims,
  layout: AttentionLayout | null,
): AttentionPart[] {
  const small = H * N * Tk * D < THREADED_WORK;
  return attentionParts(B, K, small ? 1 : module.threads, layout?.rowOffsets);
}

/** How queries, and keys, are turned: cosines and sines on the heap. */
interface Turning {
  readonly cos: tf.TensorInfo;
  readonly sin: tf.TensorInfo;
  readonly keys: boolean;
}

/**
 * Runs a kernel on each part.
 *
 * @param turning null where nothing is turned
 * @param others tensors whose addresses follow that of lse
 * @param matrices blocks of scores that it works in
 */
function runKernel(
  l: Launch,
  kernel: string,
  dims: AttentionDims,
  layout: AttentionLayout | null,
  turning: Turning | null,
  { q, k, v, out, lse }: Record<"q" | "k" | "v" | "out" | "lse", tf.TensorInfo>,
  others: readonly tf.TensorInfo[],
  matrices: number,
): void {
  const { module } = l;
  const { Tq, Tk, H, K, D } = dims;
  const at = (x: tf.TensorInfo): number => l.address(x);
  withLayout(l, layout, (layoutAddresses) => {
    const calls = partsOf(module, dims, layout).map(({ row, rows, head, heads }) => // deno-fmt-ignore
    [
        row, row + rows, Tq, Tk, H, K, D, at(q), at(k), at(v),
        ...layoutAddresses,
        ...(turning ? [at(turning.cos), at(turning.sin), Number(turning.keys)] : [0, 0, 0]),
        1 / Math.sqrt(D), at(out), at(lse), ...others.map(at),
        head, head + heads, blockRows(dims), 0,
      ]);
    const floats = scratchFloats(module, dims, matrices, turning !== null);
    module.runParts(kernel, calls, { parameter: calls[0].length - 1, floats });
  });
}

/** Gradients of q, k and v at once: three outputs shaped as they are. */
function attentionGradients(
  module: KernelModule,
  dims: AttentionDims,
  layout: AttentionLayout | null,
  keys: boolean,
  dy: tf.Tensor,
  [q, k, v, ...saved]: tf.Tensor[],
): tf.Tensor[] {
  const [cos, sin] = saved.slice(0, -2);
  const [out, lse] = saved.slice(-2);
  const angles: tf.NamedTensorMap = cos === undefined ? {} : { cos, sin };
  return launchAll(module, {
    name: "NanoAttentionBackward",
    inputs: { dy, q, k, v, out, lse, ...angles },
    run: (l) => {
      const [dq, dk, dv] = [q, k, v].map((x) => l.output(x.shape));
      const tensors = { q, k, v, out, lse };
      const turning = cos === undefined ? null : { cos, sin, keys };
      const others = [dy, dq, dk, dv];
      runKernel(l, "nano_attention_backward", dims, layout, turning, tensors, others, 2);
      return [dq, dk, dv];
    },
  });
}

/** Attention: q [B, Tq, H, D], k and v [B, Tk, K, D], turned by `rotation` → [B, Tq, H·D]. */
export function attention(
  module: KernelModule,
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): tf.Tensor3D {
  const dims = attentionDims(q, k, layout, rotation);
  const { N, ofQueries, H, D } = dims;
  const turning = rotation === undefined ? null : { ...rotation.angles, keys: rotation.keys };
  const angles: tf.NamedTensorMap = rotation === undefined ? {} : { ...rotation.angles };
  return launch(module, {
    name: turning === null ? "NanoAttention" : "NanoRotaryAttention",
    inputs: { q, k, v, ...angles },
    saveInputs: ["q", "k", "v", ...Object.keys(angles)],
    saveOutputs: [true, true],
    run: (l) => {
      const out = l.output([...ofQueries, H * D]);
      const lse = l.output([H * N]);
      runKernel(l, "nano_attention", dims, layout, turning, { q, k, v, out, lse }, [], 1);
      return [out, lse];
    },
    gradient: (dy, saved) => {
      const keys = turning?.keys === true;
      const get = sharedGradients(() => attentionGradients(module, dims, layout, keys, dy, saved));
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
