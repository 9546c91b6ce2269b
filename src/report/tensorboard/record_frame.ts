/**
 * TFRecord's frame around one record, which is how event files hold their events.
 * Source: tensorflow/core/lib/io/record_writer.h.
 *
 * @module
 */

// Castagnoli's polynomial, reflected.
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0x82f63b78);
  return crc >>> 0;
});

/**
 * CRC-32C (RFC 3720, appendix B.4).
 *
 * @param bytes what to sum
 * @returns 32 bits, unsigned
 */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC32C_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** TensorFlow's masked sum: a sum over bytes that themselves hold sums would be weak. */
function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/**
 * Frames one record: length (u64), its masked sum (u32), the record, its masked sum (u32), all
 * little-endian.
 *
 * @param record the bytes of one event
 * @returns 16 bytes more
 */
export function frameRecord(record: Uint8Array): Uint8Array {
  const frame = new Uint8Array(record.length + 16);
  const view = new DataView(frame.buffer);
  view.setBigUint64(0, BigInt(record.length), true);
  view.setUint32(8, maskedCrc32c(frame.subarray(0, 8)), true);
  frame.set(record, 12);
  view.setUint32(12 + record.length, maskedCrc32c(record), true);
  return frame;
}
