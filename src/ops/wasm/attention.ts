/**
 * Attention on the wasm heap, without a [Tq, Tk] matrix.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "../attention_layout.ts";
import { type Launch, launch, launchAll, sharedGradients } from "./launch.ts";
import type { KernelModule } from "./module.ts";
import { type AttentionPart, attentionParts } from "./parts.ts";

// B batch, Tq queries, Tk keys, H query heads, K key/value heads, D head dim

/** Floats that a block of scores may take: half a MiB, which stays in a core's own cache. */
const SCORE_FLOATS = 128 * 1024;

/** Multiplications below which another thread does not pay. */
const THREADED_WORK = 1e6;

interface Dims {
  readonly B: number;
  readonly Tq: number;
  readonly Tk: number;
  readonly H: number;
  readonly K: number;
  readonly D: number;
}

/** Queries at a time: a multiple of the product's four rows. */
function blockRows({ Tq, Tk, H, K }: Dims): number {
  const rows = Math.max(4, Math.min(128, Math.floor(SCORE_FLOATS / Tk) & ~3));
  return Tq === 1 ? Math.max(rows, H / K) : rows;
}

function scratchFloats(module: KernelModule, dims: Dims, matrices: number): number {
  const scores = blockRows(dims) * Math.ceil(dims.Tk / 4) * 4;
  return module.kernel("nano_gemm_scratch_floats")() + matrices * scores;
}

/** Runs `use` with the addresses of the layout's four arrays, or with zeros. */
function withLayout<T>(
  l: Launch,
  layout: AttentionLayout | null,
  use: (addresses: number[]) => T,
): T {
  if (layout === null) return use([0, 0, 0, 0]);
  const { starts, prefixEnds, branchStarts, ends } = layout;
  return l.withIntegers([starts, prefixEnds, branchStarts, ends], use);
}

/** Calls that together do all of it: one, or several for several threads. */
function partsOf(module: KernelModule, { B, Tq, Tk, H, K, D }: Dims): AttentionPart[] {
  const small = B * H * Tq * Tk * D < THREADED_WORK;
  return attentionParts(B, K, small ? 1 : module.threads);
}

/** Addresses of the layout's arrays from a row on; zeros stay. */
function layoutFrom(addresses: readonly number[], row: number, Tq: number): number[] {
  // Starts and prefix ends are one a row, branch starts and ends one a query.
  return addresses.map((at, i) => at === 0 ? 0 : at + 4 * row * (i < 2 ? 1 : Tq));
}

/** Gradients of q, k and v at once: three outputs shaped as they are. */
function attentionGradients(
  module: KernelModule,
  dims: Dims,
  layout: AttentionLayout | null,
  dy: tf.Tensor,
  [q, k, v, out, lse]: tf.Tensor[],
): tf.Tensor[] {
  const { Tq, Tk, H, K, D } = dims;
  return launchAll(module, {
    name: "NanoAttentionBackward",
    inputs: { dy, q, k, v, out, lse },
    run: (l) => {
      const [dq, dk, dv] = [q, k, v].map((x) => l.output(x.shape));
      const [queries, keys] = [Tq * H * D * 4, Tk * K * D * 4]; // Bytes of a row.
      withLayout(l, layout, (layoutAddresses) => {
        const calls = partsOf(module, dims).map(({ row, rows, head, heads }) => {
          const at = (x: tf.TensorInfo, bytes: number): number => l.address(x) + row * bytes;
          // deno-fmt-ignore
          return [
            rows, Tq, Tk, H, K, D, at(q, queries), at(k, keys), at(v, keys),
            ...layoutFrom(layoutAddresses, row, Tq), 1 / Math.sqrt(D), at(out, queries),
            at(lse, H * Tq * 4), at(dy, queries), at(dq, queries), at(dk, keys), at(dv, keys),
            head, head + heads, blockRows(dims), 0,
          ];
        });
        const scratch = { parameter: calls[0].length - 1, floats: scratchFloats(module, dims, 2) };
        module.runParts("nano_attention_backward", calls, scratch);
      });
      return [dq, dk, dv];
    },
  });
}

/** Attention: q [B, Tq, H, D], k and v [B, Tk, K, D] → [B, Tq, H·D]. */
export function attention(
  module: KernelModule,
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
): tf.Tensor3D {
  const [B, Tq, H, D] = q.shape;
  const [, Tk, K] = k.shape;
  const dims: Dims = { B, Tq, Tk, H, K, D };
  layout?.assertFits(B, Tq, Tk);
  return launch(module, {
    name: "NanoAttention",
    inputs: { q, k, v },
    saveInputs: ["q", "k", "v"],
    saveOutputs: [true, true],
    run: (l) => {
      const out = l.output([B, Tq, H * D]);
      const lse = l.output([B, H, Tq]);
      const [queries, keys] = [Tq * H * D * 4, Tk * K * D * 4]; // Bytes of a row.
      withLayout(l, layout, (layoutAddresses) => {
        const calls = partsOf(module, dims).map(({ row, rows, head, heads }) => {
          const at = (x: tf.TensorInfo, bytes: number): number => l.address(x) + row * bytes;
          // deno-fmt-ignore
          return [
            rows, Tq, Tk, H, K, D, at(q, queries), at(k, keys), at(v, keys),
            ...layoutFrom(layoutAddresses, row, Tq), 1 / Math.sqrt(D), at(out, queries),
            at(lse, H * Tq * 4), head, head + heads, blockRows(dims), 0,
          ];
        });
        const scratch = { parameter: calls[0].length - 1, floats: scratchFloats(module, dims, 1) };
        module.runParts("nano_attention", calls, scratch);
      });
      return [out, lse];
    },
    gradient: (dy, saved) => {
      const get = sharedGradients(() => attentionGradients(module, dims, layout, dy, saved));
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
