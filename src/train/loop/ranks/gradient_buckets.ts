/**
 * Gradients in groups that are summed over ranks in one call, in the order in which a backward pass
 * completes them.
 *
 * @module
 */
import type { Parameters } from "../gradients.ts";

/** Float32 values that are summed in one call: 16 MB. Small tensors share a call, a large one has its own. */
const BUCKET_VALUES = 2 ** 22;

/** Tensors that are summed in one call. */
export type Bucket = readonly { readonly name: string; readonly shape: number[] }[];

/** Names in groups of up to `limit` values, or one name that has more. */
export function bucketsOf(
  names: readonly string[],
  parameters: Parameters,
  limit = BUCKET_VALUES,
): Bucket[] {
  const buckets: Bucket[] = [];
  let bucket: Bucket[number][] = [], size = 0;
  for (const name of names) {
    const { size: values, shape } = parameters.get(name)!;
    if (bucket.length > 0 && size + values > limit) {
      buckets.push(bucket);
      [bucket, size] = [[], 0];
    }
    bucket.push({ name, shape });
    size += values;
  }
  if (bucket.length > 0) buckets.push(bucket);
  return buckets;
}

/** The parts of a model, from its output to its input. */
const PARTS = ["decoder.", "MP.", "vision_encoder."] as const;

/** Where a tensor lies in the backward pass; numbers are compared one after the other. */
function depth(name: string): readonly number[] {
  const part = PARTS.findIndex((prefix) => name.startsWith(prefix));
  const block = /(?:^|\.)blocks\.(\d+)\./.exec(name)?.[1];
  if (block !== undefined) return [part, 1, -Number(block)];
  // The last norm comes behind the blocks; tables and patches come before them. A head that shares
  // the table of tokens has its gradient only when that table has.
  return [part, /(?:^|\.)(?:layer_)?norm\.(?:weight|bias)$/.test(name) ? 0 : 2, 0];
}

/**
 * Names in about the order in which a backward pass completes their gradients. It depends on the
 * names alone, so that each rank has the same.
 */
export function backwardOrder(names: Iterable<string>): string[] {
  const depths = new Map(Array.from(names, (name) => [name, depth(name)]));
  return [...depths.keys()].sort((a, b) => {
    const x = depths.get(a)!, y = depths.get(b)!;
    const differing = x.findIndex((value, i) => value !== y[i]);
    return differing < 0 ? 0 : x[differing] - y[differing];
  });
}
