/**
 * Rotary position embedding (Su et al., 2021) in Llama's half-split form: the first half of a
 * head's dimensions is paired with the second.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "../fused_kernels.ts";
import type { RotaryAngles } from "./rotary_angles.ts";

// B batch, T tokens, H heads, D head dim

/**
 * The plain composite.
 *
 * @param x [B, T, H, D]
 * @param angles of the same positions
 * @returns [B, T, H, D]
 */
export function ropeComposite(x: tf.Tensor4D, angles: RotaryAngles): tf.Tensor4D {
  const [B, T, H, D] = x.shape;
  const half = D / 2;
  const first = x.slice([0, 0, 0, 0], [B, T, H, half]); // [B, T, H, D/2]
  const second = x.slice([0, 0, 0, half], [B, T, H, half]); // [B, T, H, D/2]
  return tf.concat([
    first.mul(angles.cos).sub(second.mul(angles.sin)),
    second.mul(angles.cos).add(first.mul(angles.sin)),
  ], 3) as tf.Tensor4D; // [B, T, H, D]
}

/**
 * Rotates queries or keys by their positions.
 *
 * @param x [B, T, H, D]
 * @param angles of the same positions
 * @returns [B, T, H, D]
 */
export function rope(x: tf.Tensor4D, angles: RotaryAngles): tf.Tensor4D {
  return fusedKernels()?.rope(x, angles.cos, angles.sin) ?? ropeComposite(x, angles);
}
