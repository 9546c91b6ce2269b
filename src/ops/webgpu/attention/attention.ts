/**
 * Attention in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { attentionDims, type AttentionLayout } from "../../attention/attention_layout.ts";
import { sharedGradients } from "../../tape/fused_op.ts";
import { withLazyGradients } from "../../tape/lazy_gradients.ts";
import { PACKED_FORMATS } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { isRecording } from "../../tape/recording.ts";
import type { RotaryAngles, Rotation } from "../../attention/rotary_angles.ts";
import {
  type AttentionInputs,
  bindInputs,
  recordAttention,
  recordAttentionGradients,
  type Work,
} from "./launch.ts";
import { currentLaunch, type GpuLaunch, launch, launchAll } from "../runtime/launch.ts";
import { rope } from "../layouts.ts";
import { MAX_ITERATIONS } from "../runtime/program.ts";
import { packHalf } from "../round_half.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** What the gradients of keys and values bind, the most of all: operands, layout and results. */
const BINDINGS = { operands: 5, buffers: 3 };

/** And the angles with them. */
const TURNING_BINDINGS = { operands: 4, buffers: 5 };

/** Larger heads would not stay in registers. */
const MAX_HEAD_DIM = 128;

/** Whether the programs fit dims and adapter. */
function fits({ Tq, Tk, H, K, D }: Work["dims"], l: GpuLaunch): boolean {
  return D % 4 === 0 && D <= MAX_HEAD_DIM && Math.max(Tk, Tq * H / K) <= MAX_ITERATIONS &&
    l.canBind(BINDINGS);
}

/**
 * Attention: q [B, Tq, H, D], k and v [B, Tk, K, D], turned by `rotation` → [B, Tq, H·D].
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
  const current = currentLaunch();
  if (!fits(dims, current)) return null;
  let angles: RotaryAngles | null = rotation?.angles ?? null;
  let turnsKeys = rotation?.keys === true;
  // An op of its own turns what the kernels do not: keys where no memory of a workgroup holds them
  // turned, all where the halves of a head are no whole vectors or angles cannot be bound.
  const turnsHere = dims.D % 8 === 0 && current.canBind(TURNING_BINDINGS);
  if (angles !== null && turnsKeys && (current.isFallback || !turnsHere)) {
    k = rope(k, angles.cos, angles.sin);
    turnsKeys = false;
  }
  if (angles !== null && !turnsHere) {
    q = rope(q, angles.cos, angles.sin);
    angles = null;
  }
  const turns = angles === null ? "nothing" : turnsKeys ? "queries and keys" : "queries";
  const work: Work = { dims, layout, turns, half: null };
  const named: tf.NamedTensorMap = angles === null ? {} : { cos: angles.cos, sin: angles.sin };
  const inputs = (tensors: tf.Tensor[]) =>
    tensors.map((tensor) => ({ tensor })) as unknown as AttentionInputs;
  return launch({
    name: angles === null ? "GpuAttention" : "GpuRotaryAttention",
    inputs: { q, k, v, ...named },
    saveInputs: ["q", "k", "v", ...Object.keys(named)],
    saveOutputs: [true, true],
    run: (l) => {
      const bound = bindInputs(l, work, inputs([q, k, v]));
      return recordAttention(l, work, bound, Object.values(named), false);
    },
    gradient: (dy, saved) => {
      const get = sharedGradients(() => {
        const [out, lse] = saved.slice(-2);
        const angles = saved.slice(3, -2);
        return launchAll({
          name: "GpuAttentionBackward",
          inputs: { dy, ...Object.fromEntries(saved.map((x, i) => [`saved${i}`, x])) },
          run: (l) => {
            const bound = bindInputs(l, work, inputs(saved.slice(0, 3)));
            return recordAttentionGradients(l, work, bound, angles, [out, lse], dy);
          },
        });
      });
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}

/**
 * Attention of a 16-bit pass, R(attention(R(q), R(k), R(v))), its gradients rounded: what
 * `../../half/half_attention.ts` says, without a pass for any rounding. Queries, keys and values are kept in
 * 16 bits and read so; the way back computes the result again, before it was rounded.
 *
 * @returns null where `attention` would
 */
export function halfAttention(
  half: HalfFormat,
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
): tf.Tensor3D | null {
  const dims = attentionDims(q, k, layout);
  if (!fits(dims, currentLaunch())) return null;
  const work: Work = { dims, layout, turns: "nothing", half };
  const given = [q, k, v];
  const shapes = given.map(({ shape }) => shape);
  const words = isRecording() ? given.map((x) => packHalf(x, half)) : null;
  const named = (tensors: tf.Tensor[]) => ({ q: tensors[0], k: tensors[1], v: tensors[2] });
  const packed = (words: tf.Tensor[]) =>
    words.map((tensor, i) => ({
      tensor,
      packed: { format: PACKED_FORMATS[half], shape: shapes[i] },
    })) as unknown as AttentionInputs;
  return withLazyGradients<tf.Tensor3D>({
    inputs: named(given),
    save: words ?? [],
    forward: () =>
      launch({
        name: "GpuHalfAttention",
        inputs: named(words ?? given),
        run: (l) => {
          const plain = [{ tensor: q }, { tensor: k }, { tensor: v }] as const;
          const inputs = bindInputs(l, work, words ? packed(words) : plain);
          const [out, lse] = recordAttention(l, work, inputs, [], true);
          l.backend.disposeData(lse.dataId);
          return [out];
        },
      }),
    gradient: (dy, words) => {
      const get = sharedGradients(() =>
        launchAll({
          name: "GpuHalfAttentionBackward",
          inputs: { dy, ...named(words) },
          run: (l) => {
            const inputs = bindInputs(l, work, packed(words));
            const results = recordAttention(l, work, inputs, [], false);
            const gradients = recordAttentionGradients(l, work, inputs, [], results, dy);
            for (const { dataId } of results) l.backend.disposeData(dataId);
            return gradients;
          },
        })
      );
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
