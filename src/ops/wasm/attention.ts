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
import type { KernelModule, PartArguments } from "./runtime/kernel_module.ts";
import { type AttentionPart, attentionParts } from "./runtime/parts.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** Floats of a block of scores, at most: half a MiB, which fits in a core's own cache. */
const SCORE_FLOATS = 128 * 1024;

/** Multiplications below which a second thread is not faster. */
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
  rotates: boolean,
): number {
  const rows = blockRows(dims);
  const scores = rows * Math.ceil(dims.Tk / 4) * 4;
  const rotated = rotates ? (rows + dims.Tk) * dims.D : 0;
  return module.call("nano_gemm_scratch_floats", {}) + matrices * scores + rotated;
}

/** Addresses of the layout's arrays by the names of the kernels' parameters; 0: there is none. */
type LayoutAddresses = Record<
  "starts" | "prefix_ends" | "branch_starts" | "ends" | "offsets",
  number
>;

/** Runs `use` with the layout's arrays on the heap. */
function withLayout(
  l: Launch,
  layout: AttentionLayout | null,
  use: (addresses: LayoutAddresses) => void,
): void {
  if (layout === null) {
    return use({ starts: 0, prefix_ends: 0, branch_starts: 0, ends: 0, offsets: 0 });
  }
  const { starts, prefixEnds, branchStarts, ends, rowOffsets } = layout;
  const arrays = [
    starts,
    prefixEnds,
    branchStarts,
    ends,
    ...rowOffsets === null ? [] : [rowOffsets],
  ];
  l.withIntegers(
    arrays,
    ([starts, prefix_ends, branch_starts, ends, offsets = 0]) =>
      use({ starts, prefix_ends, branch_starts, ends, offsets }),
  );
}

/** The parts of the work: one, or several for several threads. */
function partsOf(
  module: KernelModule,
  { B, N, Tk, H, K, D }: AttentionDims,
  layout: AttentionLayout | null,
): AttentionPart[] {
  const small = H * N * Tk * D < THREADED_WORK;
  return attentionParts(B, K, small ? 1 : module.threads, layout?.rowOffsets);
}

/** How queries, and keys, are rotated: cosines and sines on the heap. */
interface Rotating {
  readonly cos: tf.TensorInfo;
  readonly sin: tf.TensorInfo;
  readonly keys: boolean;
}

/** What both kernels take, but for the part of the work. */
interface KernelInputs {
  readonly q: tf.TensorInfo;
  readonly k: tf.TensorInfo;
  readonly v: tf.TensorInfo;
  readonly out: tf.TensorInfo;
  readonly lse: tf.TensorInfo;
}

/** The arguments of the forward kernel, which the backward kernel takes too. */
type CommonArguments = PartArguments<"nano_attention">;

/**
 * Runs `run` with the arguments of each part of the work.
 *
 * @param rotating null if nothing is rotated
 * @param matrices blocks of scores that the kernel works in
 */
function withParts(
  l: Launch,
  dims: AttentionDims,
  layout: AttentionLayout | null,
  rotating: Rotating | null,
  inputs: KernelInputs,
  matrices: number,
  run: (calls: CommonArguments[], scratchFloats: number) => void,
): void {
  const { module } = l;
  const { Tq, Tk, H, K, D } = dims;
  withLayout(l, layout, (arrays) => {
    const common = {
      ...{ Tq, Tk, H, K, D, ...arrays, scale: 1 / Math.sqrt(D), block: blockRows(dims) },
      q: l.address(inputs.q),
      k: l.address(inputs.k),
      v: l.address(inputs.v),
      cos: rotating === null ? 0 : l.address(rotating.cos),
      sin: rotating === null ? 0 : l.address(rotating.sin),
      rotate_keys: Number(rotating?.keys ?? false),
      out: l.address(inputs.out),
      lse: l.address(inputs.lse),
    };
    const calls = partsOf(module, dims, layout).map(({ row, rows, head, heads }) => ({
      ...common,
      ...{ b0: row, b1: row + rows, k0: head, k1: head + heads },
    }));
    run(calls, scratchFloats(module, dims, matrices, rotating !== null));
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
      const rotating = cos === undefined ? null : { cos, sin, keys };
      const [dout, ...others] = [dy, dq, dk, dv].map(l.address);
      const gradients = { dout, dq: others[0], dk: others[1], dv: others[2] };
      withParts(l, dims, layout, rotating, { q, k, v, out, lse }, 2, (calls, floats) => {
        const all = calls.map((call) => ({ ...call, ...gradients }));
        module.runParts("nano_attention_backward", all, floats);
      });
      return [dq, dk, dv];
    },
  });
}

/** Attention: q [B, Tq, H, D], k and v [B, Tk, K, D], rotated by `rotation` → [B, Tq, H·D]. */
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
  const rotating = rotation === undefined ? null : { ...rotation.angles, keys: rotation.keys };
  const angles: tf.NamedTensorMap = rotation === undefined ? {} : { ...rotation.angles };
  return launch(module, {
    name: rotating === null ? "NanoAttention" : "NanoRotaryAttention",
    inputs: { q, k, v, ...angles },
    saveInputs: ["q", "k", "v", ...Object.keys(angles)],
    saveOutputs: [true, true],
    run: (l) => {
      const out = l.output([...ofQueries, H * D]);
      const lse = l.output([H * N]);
      withParts(
        l,
        dims,
        layout,
        rotating,
        { q, k, v, out, lse },
        1,
        (calls, floats) => module.runParts("nano_attention", calls, floats),
      );
      return [out, lse];
    },
    gradient: (dy, saved) => {
      const keys = rotating?.keys === true;
      const get = sharedGradients(() => attentionGradients(module, dims, layout, keys, dy, saved));
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
