/**
 * Looks for the tensor that made a run diverge.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { gradientNorm } from "../../ops/optimizer.ts";

/** A value that is NaN or infinite, and where it is. */
export interface BadValue {
  /** The tensor's name. */
  readonly name: string;
  /** Element, row-major. */
  readonly index: number;
  readonly value: number;
}

/**
 * The first tensor that holds a NaN or an infinity, read back one after the other.
 *
 * @param tensors by name, float32
 * @returns null if all are finite
 */
export async function firstBadValue(
  tensors: Iterable<readonly [string, tf.Tensor]>,
): Promise<BadValue | null> {
  for (const [name, tensor] of tensors) {
    const [values] = await readBack([tensor]);
    const index = values.findIndex((value) => !Number.isFinite(value));
    if (index >= 0) return { name, index, value: values[index] };
  }
  return null;
}

/**
 * {@linkcode firstBadValue}, but looks for it only if the norm of all tensors is not finite,
 * which costs one pass on the device and one read.
 */
export async function findBadValue(
  tensors: ReadonlyMap<string, tf.Tensor>,
): Promise<BadValue | null> {
  if (tensors.size === 0) return null;
  const norm = gradientNorm([...tensors.values()]);
  const [[value]] = await readBack([norm]);
  norm.dispose();
  return Number.isFinite(value) ? null : await firstBadValue(tensors);
}
