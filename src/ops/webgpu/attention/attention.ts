/**
 * Attention in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { attentionDims, type AttentionLayout } from "../../attention/attention_layout.ts";
import { sharedGradients } from "../../tape/fused_op.ts";
import { withLazyGradients } from "../../tape/lazy_gradients.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { isRecording } from "../../tape/recording.ts";
import type { RotaryAngles, Rotation } from "../../attention/rotary_angles.ts";
import { bindInputs, recordAttention, recordAttentionGradients, type Work } from "./launch.ts";
import { currentLaunch, type GpuLaunch, launch, launchAll } from "../runtime/launch.ts";
import { rope } from "../layouts.ts";
import { MAX_ITERATIONS } from "../runtime/program.ts";
import { storeHalf } from "../round_half.ts";
import { isStoredIn } from "../runtime/half_storage.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** What one program binds: operands, and the other buffers. */
interface Bindings {
  readonly operands: number;
  readonly buffers: number;
}

/** Of the forward pass: queries, keys and values; the layout and two results. */
const FORWARD: Bindings = { operands: 3, buffers: 3 };

/** The same with angles. */
const ROTARY_FORWARD: Bindings = { operands: 3, buffers: 5 };

/** Of the gradients of keys and values, which have the most: operands, layout, results. */
const BACKWARD: Bindings = { operands: 5, buffers: 3 };

/** The same with angles. */
const ROTARY_BACKWARD: Bindings = { operands: 4, buffers: 5 };

/**
 * Whether the adapter binds what the programs need. Without a backward pass that is less: Chromium's
 * SwiftShader binds four textures, which the gradients exceed.
 */
function binds(l: GpuLaunch, forward: Bindings, backward: Bindings): boolean {
  return l.canBind(forward) && (!isRecording() || l.canBind(backward));
}

/** Larger heads would not stay in registers. */
const MAX_HEAD_DIM = 128;

/** Whether the programs support the dims and the adapter. */
function fits({ Tq, Tk, H, K, D }: Work["dims"], l: GpuLaunch): boolean {
  return D % 4 === 0 && D <= MAX_HEAD_DIM && Math.max(Tk, Tq * H / K) <= MAX_ITERATIONS &&
    binds(l, FORWARD, BACKWARD);
}

/** Queries and keys, and what of their rotation the kernels do. */
interface Turned {
  readonly q: tf.Tensor4D;
  readonly k: tf.Tensor4D;
  readonly angles: RotaryAngles | null;
  readonly rotates: Work["rotates"];
}

/**
 * Rotates by a separate op what the kernels cannot: keys if no workgroup memory keeps them rotated, and
 * queries too if the halves of a head are not whole vectors or the angles cannot be bound.
 */
function turn(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  rotation: Rotation | undefined,
  l: GpuLaunch,
): Turned {
  if (rotation === undefined) return { q, k, angles: null, rotates: "nothing" };
  const { angles } = rotation;
  const rotatesHere = q.shape[3] % 8 === 0 && binds(l, ROTARY_FORWARD, ROTARY_BACKWARD);
  const apart = rotation.keys && (l.isFallback || !rotatesHere);
  if (apart) k = rope(k, angles.cos, angles.sin);
  if (!rotatesHere) {
    return { q: rope(q, angles.cos, angles.sin), k, angles: null, rotates: "nothing" };
  }
  return { q, k, angles, rotates: rotation.keys && !apart ? "queries and keys" : "queries" };
}

/**
 * Attention: q [B, Tq, H, D], k and v [B, Tk, K, D], rotated by `rotation` → [B, Tq, H·D].
 *
 * @returns null if the head dim is not a multiple of 4 or is too large, a row is too long for a loop, or
 * the adapter binds too few buffers; the op then runs its composite
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
  const turned = turn(q, k, rotation, current);
  [q, k] = [turned.q, turned.k];
  const { angles, rotates } = turned;
  const work: Work = { dims, layout, rotates, half: null };
  const named: tf.NamedTensorMap = angles === null ? {} : { cos: angles.cos, sin: angles.sin };
  return launch({
    name: angles === null ? "GpuAttention" : "GpuRotaryAttention",
    inputs: { q, k, v, ...named },
    saveInputs: ["q", "k", "v", ...Object.keys(named)],
    saveOutputs: [true, true],
    run: (l) => {
      const bound = bindInputs(l, work, [q, k, v]);
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
            const bound = bindInputs(l, work, [saved[0], saved[1], saved[2]]);
            return recordAttentionGradients(l, work, bound, angles, [out, lse], dy);
          },
        });
      });
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}

/**
 * Attention of a 16-bit pass, R(attention(R(q), R(k), R(v))) with rounded gradients, as
 * `../../half/half_attention.ts` defines it, without dispatches that only round. Queries, keys and
 * values are kept and read in 16 bits; the backward pass computes the result, not rounded, again.
 *
 * @returns null if `attention` would return null
 */
export function halfAttention(
  half: HalfFormat,
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): tf.Tensor3D | null {
  const dims = attentionDims(q, k, layout, rotation);
  const current = currentLaunch();
  if (!fits(dims, current)) return null;
  // Values that are not rounded yet are rotated before they are: by a separate op.
  const areRounded = [q, k].every((x) => isStoredIn(x, half));
  if (rotation !== undefined && (current.isFallback || !areRounded)) {
    const { cos, sin } = rotation.angles;
    q = rope(q, cos, sin);
    if (rotation.keys) k = rope(k, cos, sin);
    rotation = undefined;
  }
  const { angles, rotates, ...turned } = turn(q, k, rotation, current);
  const work: Work = { dims, layout, rotates, half };
  const given = [turned.q, turned.k, v];
  const turning = angles === null ? [] : [angles.cos, angles.sin];
  const kept = isRecording() ? given.map((x) => storeHalf(x, half)) : null;
  const named = (tensors: tf.Tensor[]) => ({ q: tensors[0], k: tensors[1], v: tensors[2] });
  const withAngles = (tensors: tf.Tensor[]): tf.NamedTensorMap =>
    tensors.length === 0 ? {} : { cos: tensors[0], sin: tensors[1] };
  return withLazyGradients<tf.Tensor3D>({
    inputs: named(given),
    save: kept === null ? [] : [...kept, ...turning],
    forward: () =>
      launch({
        name: "GpuHalfAttention",
        inputs: { ...named(kept ?? given), ...withAngles(turning) },
        run: (l) => {
          const [q, k, v] = kept ?? given;
          const inputs = bindInputs(l, work, [q, k, v]);
          const [out, lse] = recordAttention(l, work, inputs, turning, true);
          l.backend.disposeData(lse.dataId);
          return [out];
        },
      }),
    gradient: (dy, [q, k, v, ...turning]) => {
      const get = sharedGradients(() =>
        launchAll({
          name: "GpuHalfAttentionBackward",
          inputs: { dy, q, k, v, ...withAngles(turning) },
          run: (l) => {
            const inputs = bindInputs(l, work, [q, k, v]);
            return recordAttentionGradients(l, work, inputs, turning, null, dy);
          },
        })
      );
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
