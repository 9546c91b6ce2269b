/**
 * float16 and bfloat16 to float32 and back, exactly as PyTorch and NumPy round: to the nearest,
 * ties to even.
 *
 * @module
 */

/**
 * Widens float16 bits. Every float16 is a float32, so nothing is lost.
 *
 * @param bits IEEE 754 binary16, one a word
 * @param out where the numbers go; as long as `bits`
 */
export function float16ToFloat32(
  bits: Uint16Array,
  out: Float32Array = new Float32Array(bits.length),
): Float32Array {
  out.set(new Float16Array(bits.buffer, bits.byteOffset, bits.length));
  return out;
}

/**
 * Rounds to float16, to nearest, ties to even; beyond 65,519 becomes infinity.
 *
 * @returns the bits, one number a word
 */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  return new Uint16Array(new Float16Array(values).buffer);
}

/**
 * Widens bfloat16 bits: they are the upper half of a float32.
 *
 * @param bits one number a word
 * @param out where the numbers go; as long as `bits`
 */
export function bfloat16ToFloat32(
  bits: Uint16Array,
  out: Float32Array = new Float32Array(bits.length),
): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return out;
}

/**
 * Rounds to bfloat16, to nearest, ties to even. Every NaN becomes the quiet NaN 0x7fc0, as
 * rounding its payload could turn it into infinity.
 *
 * @returns the bits, one number a word
 */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    bits[i] = (word & 0x7fffffff) > 0x7f800000
      ? 0x7fc0
      : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return bits;
}
