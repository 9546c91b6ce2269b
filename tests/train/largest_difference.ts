/** How far two sets of tensors are apart. */

/** The largest difference of two sets of tensors, relative to each tensor's largest value. */
export function largestDifference(
  a: ReadonlyMap<string, Float32Array>,
  b: ReadonlyMap<string, Float32Array>,
): number {
  let largest = a.size === b.size ? 0 : Infinity;
  for (const [name, values] of a) {
    // A ViT key bias has no gradient but rounding: adding to every key changes no attention.
    if (name.endsWith("attn.qkv_proj.bias")) continue;
    const others = b.get(name);
    if (others === undefined || others.length !== values.length) return Infinity;
    let scale = 1e-12, difference = 0;
    values.forEach((value, i) => {
      scale = Math.max(scale, Math.abs(value));
      difference = Math.max(difference, Math.abs(value - others[i]));
    });
    largest = Math.max(largest, difference / scale);
  }
  return largest;
}
