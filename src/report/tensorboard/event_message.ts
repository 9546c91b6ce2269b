/**
 * The few protobuf messages that an event file of scalars and texts needs, written by hand: six
 * fields do not justify a protobuf runtime.
 * Source: tensorboard/compat/proto/{event,summary,tensor}.proto.
 *
 * @module
 */

const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
const DT_STRING = 7;
const SESSION_START = 1;

/** What one event carries beside its time and step. */
export type EventContent =
  | { readonly kind: "version" }
  | { readonly kind: "sessionStart" }
  | { readonly kind: "scalars"; readonly values: readonly (readonly [string, number])[] }
  | { readonly kind: "text"; readonly tag: string; readonly text: string };

/**
 * Encodes tensorboard.Event.
 *
 * @param wallTimeSeconds when, in seconds since 1970
 * @param step the optimizer step
 * @param content what happened
 * @returns the message's bytes
 */
export function encodeEvent(
  wallTimeSeconds: number,
  step: number,
  content: EventContent,
): Uint8Array {
  return join([double(1, wallTimeSeconds), varint(2, step), encodeContent(content)]);
}

function encodeContent(content: EventContent): Uint8Array {
  switch (content.kind) {
    case "version":
      return text(3, "brain.Event:2");
    case "sessionStart":
      return message(7, varint(1, SESSION_START));
    case "scalars":
      return message(
        5,
        ...content.values.map(([tag, value]) => message(1, text(1, tag), float(2, value))),
      );
    case "text": {
      const shape = message(2, message(2, varint(1, 1)));
      const tensor = message(8, varint(1, DT_STRING), shape, text(8, content.text));
      const metadata = message(9, message(1, text(1, "text")));
      return message(5, message(1, text(1, content.tag), tensor, metadata));
    }
  }
}

function key(field: number, wireType: number): number[] {
  return varintBytes(field * 8 + wireType);
}

function varintBytes(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  bytes.push(value);
  return bytes;
}

function varint(field: number, value: number): Uint8Array {
  return Uint8Array.from([...key(field, VARINT), ...varintBytes(value)]);
}

function double(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes.set(key(field, FIXED64));
  new DataView(bytes.buffer).setFloat64(1, value, true);
  return bytes;
}

function float(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes.set(key(field, FIXED32));
  new DataView(bytes.buffer).setFloat32(1, value, true);
  return bytes;
}

function text(field: number, value: string): Uint8Array {
  return message(field, new TextEncoder().encode(value));
}

function message(field: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = join(parts);
  return join([Uint8Array.from([...key(field, BYTES), ...varintBytes(body.length)]), body]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
