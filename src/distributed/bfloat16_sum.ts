/**
 * Sums over ranks with half the bytes: bfloat16 on the wire, float32 in the addition.
 *
 * Each rank rounds its values and sends every rank a share of them; a rank adds up the share that is
 * its own, rounds the sum and sends it to all. 2 (N − 1) / N times 2 bytes a value go through each
 * link. PyTorch's `bf16_compress_hook` rounds in the same way, and adds in bfloat16. The rounding
 * error of a step is not added to the next one (no error feedback).
 *
 * @module
 */
import { bfloat16ToFloat32, float32ToBfloat16 } from "../ops/half/half_precision.ts";
import type { Ranks } from "./ranks.ts";

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** 16-bit words of bytes that may lie at an odd address. */
const wordsOf = (bytes: Uint8Array) => new Uint16Array(bytes.slice().buffer);

/**
 * Replaces values by their sums over all ranks, rounded to bfloat16; every rank gets the same bits.
 *
 * Each value is off by little more than 2⁻⁷ of the sum of the magnitudes at most: it is rounded twice.
 *
 * @param values as many on each rank
 * @param what for the message if a rank does not come
 */
export async function sumInBfloat16(
  ranks: Ranks,
  values: Float32Array,
  what: string,
): Promise<void> {
  const { size } = ranks;
  if (size === 1) return;
  const share = Math.ceil(values.length / size);
  const sent = new Uint16Array(share * size);
  sent.set(float32ToBfloat16(values));
  const received = wordsOf(await ranks.exchange(bytesOf(sent), what));
  const sum = new Float32Array(share), part = new Float32Array(share);
  for (let rank = 0; rank < size; rank++) {
    bfloat16ToFloat32(received.subarray(rank * share, (rank + 1) * share), part);
    for (let i = 0; i < share; i++) sum[i] += part[i];
  }
  const sums = await ranks.gather(bytesOf(float32ToBfloat16(sum)), what);
  sums.forEach((bytes, rank) => {
    const own = values.subarray(rank * share, (rank + 1) * share);
    bfloat16ToFloat32(wordsOf(bytes).subarray(0, own.length), own);
  });
}
