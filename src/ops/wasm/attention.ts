/**
 * Attention on the wasm heap, without a [Tq, Tk] matrix.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "../attention_layout.ts";
import { type Launch, launch, launchAll, sharedGradients } from "./launch.ts";
import type { KernelModule } from "./module.ts";

// B batch, Tq queries, Tk keys, H query heads, K key/value heads, D head dim

/** Floats that a block of scores may take: half a MiB, which stays in a core's own cache. */
const SCORE_FLOATS = 128 * 1024;

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

/** Gradients of q, k and v at once: three outputs shaped as they are. */
function attentionGradients(
  module: KernelModule,
  dims: Dims,
  layout: AttentionLayout | null,
  dy: tf.Tensor,
  [q, k, v, out, lse]: tf.Tensor[],
): tf.Tensor[] {
  const { B, Tq, Tk, H, K, D } = dims;
  return launchAll(module, {
    name: "NanoAttentionBackward",
    inputs: { dy, q, k, v, out, lse },
    run: (l) => {
      const [dq, dk, dv] = [q, k, v].map((x) => l.output(x.shape));
      const scratch = module.scratch(scratchFloats(module, dims, 2));
      withLayout(l, layout, (layoutAddresses) =>
        // deno-fmt-ignore
        module.kernel("nano_attention_backward")(
          B, Tq, Tk, H, K, D, l.address(q), l.address(k), l.address(v), ...layoutAddresses,
          1 / Math.sqrt(D), l.address(out), l.address(lse), l.address(dy), l.address(dq),
          l.address(dk), l.address(dv), blockRows(dims), scratch,
        ));
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
  if (layout !== null && (layout.batch !== B || layout.queries !== Tq || layout.keys !== Tk)) {
    throw new Error(
      `Cannot attend: the layout is for [${layout.batch}, ${layout.queries}, ${layout.keys}], the ` +
        `tensors are [${B}, ${Tq}, ${Tk}] (batch, queries, keys).`,
    );
  }
  return launch(module, {
    name: "NanoAttention",
    inputs: { q, k, v },
    saveInputs: ["q", "k", "v"],
    saveOutputs: [true, true],
    run: (l) => {
      const out = l.output([B, Tq, H * D]);
      const lse = l.output([B, H, Tq]);
      const scratch = module.scratch(scratchFloats(module, dims, 1));
      withLayout(l, layout, (layoutAddresses) =>
        // deno-fmt-ignore
        module.kernel("nano_attention")(
          B, Tq, Tk, H, K, D, l.address(q), l.address(k), l.address(v), ...layoutAddresses,
          1 / Math.sqrt(D), l.address(out), l.address(lse), blockRows(dims), scratch,
        ));
      return [out, lse];
    },
    gradient: (dy, saved) => {
      const get = sharedGradients(() => attentionGradients(module, dims, layout, dy, saved));
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
