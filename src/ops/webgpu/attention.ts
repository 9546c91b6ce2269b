/**
 * Attention in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type AttentionDims, attentionDims, type AttentionLayout } from "../attention_layout.ts";
import { sharedGradients } from "../fused_op.ts";
import type { Rotation } from "../rotary_angles.ts";
import {
  type AttentionVariant,
  dkvProgram,
  dqProgram,
  forwardProgram,
  statisticsProgram,
} from "./attention_program.ts";
import { currentLaunch, type GpuLaunch, launch, launchAll, type Resource } from "./launch.ts";
import { rope } from "./layouts.ts";
import { MAX_ITERATIONS } from "./program.ts";

// B batch, Tq queries, Tk keys, H query heads, K key/value heads, D head dim

/** What the gradients of keys and values bind, the most of all: operands, layout and results. */
const BINDINGS = { operands: 5, buffers: 4 };

/** Larger heads would not stay in registers. */
const MAX_HEAD_DIM = 128;

function variantOf(
  l: GpuLaunch,
  { D }: AttentionDims,
  layout: AttentionLayout | null,
): AttentionVariant {
  return {
    D4: D / 4,
    operand: l.operandType,
    lanes: l.isFallback ? 8 : 64,
    hasLayout: layout !== null,
  };
}

/** Operations of a sum over the dims for every query and every key that it sees. */
function sumFlops({ B, Tq, Tk, H, D }: AttentionDims, layout: AttentionLayout | null): number {
  return 2 * H * D * (layout?.pairs ?? B * Tq * Tk);
}

function parametersOf({ B, Tq, Tk, H, K, D }: AttentionDims): Record<string, number> {
  return { B, Tq, Tk, H, K, scale: 1 / Math.sqrt(D) };
}

/** The layout's four arrays in one: starts, prefix ends, branch starts, ends. */
function packLayout({ starts, prefixEnds, branchStarts, ends }: AttentionLayout): Int32Array {
  const arrays = [starts, prefixEnds, branchStarts, ends];
  const packed = new Int32Array(arrays.reduce((size, array) => size + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    packed.set(array, at);
    at += array.length;
  }
  return packed;
}

/**
 * For each run of `lanes` keys, the first query and one past the last that may see one of them:
 * [B, ⌈Tk / lanes⌉, 2].
 */
export function queryRanges(layout: AttentionLayout, lanes: number): Int32Array {
  const { batch, queries, keys } = layout;
  const blocks = Math.ceil(keys / lanes);
  const found = new Int32Array(batch * blocks * 2);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < queries; i++) {
      for (const [start, end] of layout.ranges(b, i)) {
        if (end <= start) continue;
        const last = Math.floor((end - 1) / lanes);
        for (let block = Math.floor(start / lanes); block <= last; block++) {
          const at = 2 * (b * blocks + block);
          if (found[at + 1] === 0) found[at] = i;
          found[at + 1] = i + 1;
        }
      }
    }
  }
  return found;
}

function layoutBuffer(l: GpuLaunch, layout: AttentionLayout | null): Resource[] {
  return layout === null ? [] : [l.integersOf(layout, "layout", () => packLayout(layout))];
}

/** Gradients of q, k and v at once: three outputs shaped as they are. */
function attentionGradients(
  dims: AttentionDims,
  layout: AttentionLayout | null,
  dy: tf.Tensor,
  [q, k, v, out, lse]: tf.Tensor[],
): tf.Tensor[] {
  const { B, Tq, Tk, H, K } = dims;
  return launchAll({
    name: "GpuAttentionBackward",
    inputs: { dy, q, k, v, out, lse },
    run: (l) => {
      const variant = variantOf(l, dims, layout);
      const parameters = parametersOf(dims);
      const { lanes } = variant;
      const [dq, dk, dv] = [q, k, v].map((x) => l.output(x.shape));
      const statistics = l.output([B, Tq, H, 4]);
      const overQueries: [number, number, number] = [Math.ceil(Tq / lanes), H, B];
      const inLayout = layoutBuffer(l, layout);
      l.dispatch(
        statisticsProgram(variant),
        [
          ...[out, dy, lse].map((x) => l.buffer(x)),
          ...inLayout,
          l.buffer(statistics),
        ],
        parameters,
        overQueries,
        { flops: 2 * dy.size },
      );
      const operands = [
        l.operand(q, "q"),
        l.operand(k, "k"),
        l.operand(v, "v"),
        l.operand(dy, "dy"),
        l.operand(statistics, "statistics"),
      ];
      const flops = sumFlops(dims, layout);
      l.dispatch(
        dqProgram(variant),
        [...operands, ...inLayout, l.buffer(dq)],
        parameters,
        overQueries,
        { flops: 3 * flops },
      );
      const blocks = layout === null
        ? []
        : [l.integersOf(layout, `blocks of ${lanes}`, () => queryRanges(layout, lanes))];
      l.dispatch(
        dkvProgram(variant),
        [...operands, ...inLayout, ...blocks, l.buffer(dk), l.buffer(dv)],
        parameters,
        [Math.ceil(Tk / lanes), K, B],
        { flops: 4 * flops },
      );
      l.backend.disposeData(statistics.dataId);
      return [dq, dk, dv];
    },
  });
}

/**
 * Attention: q [B, Tq, H, D], k and v [B, Tk, K, D] → [B, Tq, H·D].
 *
 * @returns null where the head dim is no multiple of 4 or too large, a row too long for a loop, or the
 * adapter binds too little: the composite's business
 */
export function attention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): tf.Tensor3D | null {
  const dims = attentionDims(q, k, layout, rotation);
  const { B, Tq, Tk, H, K, D } = dims;
  if (D % 4 !== 0 || D > MAX_HEAD_DIM) return null;
  if (Math.max(Tk, Tq * H / K) > MAX_ITERATIONS) return null;
  if (!currentLaunch().canBind(BINDINGS)) return null;
  if (rotation !== undefined) {
    const { cos, sin } = rotation.angles;
    q = rope(q, cos, sin);
    if (rotation.keys) k = rope(k, cos, sin);
  }
  return launch({
    name: "GpuAttention",
    inputs: { q, k, v },
    saveInputs: ["q", "k", "v"],
    saveOutputs: [true, true],
    run: (l) => {
      const variant = variantOf(l, dims, layout);
      const out = l.output([B, Tq, H * D]);
      const lse = l.output([B, Tq, H]);
      const operands = [l.operand(q, "q"), l.operand(k, "k"), l.operand(v, "v")];
      l.dispatch(
        forwardProgram(variant),
        [...operands, ...layoutBuffer(l, layout), l.buffer(out), l.buffer(lse)],
        parametersOf(dims),
        [Math.ceil(Tq / variant.lanes), H, B],
        { flops: 2 * sumFlops(dims, layout) },
      );
      return [out, lse];
    },
    gradient: (dy, saved) => {
      const get = sharedGradients(() => attentionGradients(dims, layout, dy, saved));
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
