/**
 * The wire format of protobuf, as far as the few messages need it that are written here by hand: some
 * ten fields do not justify a protobuf runtime.
 * Source: https://protobuf.dev/programming-guides/encoding.
 *
 * @module
 */

const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;

function key(field: number, wireType: number): number[] {
  return varintBytes(field * 8 + wireType);
}

function varintBytes(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  bytes.push(value);
  return bytes;
}

/** A field with a whole number, 0 … 2^53. */
export function varint(field: number, value: number): Uint8Array {
  return Uint8Array.from([...key(field, VARINT), ...varintBytes(value)]);
}

/** A field of the type `double`. */
export function double(field: number, value: number): Uint8Array {
  const head = key(field, FIXED64);
  const bytes = new Uint8Array(head.length + 8);
  bytes.set(head);
  new DataView(bytes.buffer).setFloat64(head.length, value, true);
  return bytes;
}

/** A field of the type `float`. */
export function float(field: number, value: number): Uint8Array {
  const head = key(field, FIXED32);
  const bytes = new Uint8Array(head.length + 4);
  bytes.set(head);
  new DataView(bytes.buffer).setFloat32(head.length, value, true);
  return bytes;
}

/** A field of the type `string`. */
export function text(field: number, value: string): Uint8Array {
  return message(field, new TextEncoder().encode(value));
}

/** A field that holds a message: its own fields, one after the other. */
export function message(field: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = join(parts);
  return join([Uint8Array.from([...key(field, BYTES), ...varintBytes(body.length)]), body]);
}

/** Bytes one after the other. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
