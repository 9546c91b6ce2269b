/**
 * Numbers in 8 bits with a scale for each block of 32, as GGUF's Q8_0 has them, but with a float32
 * scale: q = round(x / s) with s = max |x| / 127, and s · q stands for x. The error is s / 2 at most.
 *
 * A block is 18 words of 16 bits: the scale, then 32 signed bytes.
 *
 * @module
 */

/** Numbers of a block. */
export const Q8_NUMBERS = 32;

/** 16-bit words of a block. */
export const Q8_WORDS = 18;

const LARGEST = 127;
const BLOCK_BYTES = 2 * Q8_WORDS;
const SCALE_BYTES = 4;

/**
 * Rounds numbers to 8 bits.
 *
 * @param values a multiple of 32 of them
 * @returns the words; null if a number is not finite
 */
export function quantize(values: Float32Array): Uint16Array | null {
  const blocks = values.length / Q8_NUMBERS;
  const words = new Uint16Array(blocks * Q8_WORDS);
  const view = new DataView(words.buffer);
  for (let block = 0; block < blocks; block++) {
    const numbers = values.subarray(block * Q8_NUMBERS, (block + 1) * Q8_NUMBERS);
    let largest = 0;
    for (const value of numbers) {
      if (!Number.isFinite(value)) return null;
      largest = Math.max(largest, Math.abs(value));
    }
    const scale = Math.fround(largest / LARGEST);
    const at = block * BLOCK_BYTES;
    view.setFloat32(at, scale, true);
    if (scale === 0) continue;
    numbers.forEach((value, i) => {
      const rounded = Math.round(value / scale);
      view.setInt8(at + SCALE_BYTES + i, Math.max(-LARGEST, Math.min(LARGEST, rounded)));
    });
  }
  return words;
}

/** The numbers that 8-bit words stand for. */
export function dequantize(words: Uint16Array): Float32Array {
  const blocks = words.length / Q8_WORDS;
  const values = new Float32Array(blocks * Q8_NUMBERS);
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  for (let block = 0; block < blocks; block++) {
    const at = block * BLOCK_BYTES, scale = view.getFloat32(at, true);
    for (let i = 0; i < Q8_NUMBERS; i++) {
      values[block * Q8_NUMBERS + i] = scale * view.getInt8(at + SCALE_BYTES + i);
    }
  }
  return values;
}
