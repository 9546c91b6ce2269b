/**
 * The records of a run file of Weights & Biases, and the log that frames them.
 *
 * Source: the messages of wandb 0.31 (`wandb/proto/wandb_internal.proto`), and the log format of
 * LevelDB (its log_format page) with wandb's header and plain CRC-32 sums.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { join, message, text, varint } from "../protobuf.ts";

/** Of the log; a record does not cross one without being split. */
const BLOCK_BYTES = 32_768;
/** Sum (u32), length (u16), kind (u8). */
const HEAD_BYTES = 7;
const FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4;

/** `:W&B`, a magic number and the version. */
export const WANDB_FILE_HEAD: Uint8Array = Uint8Array.of(
  ...new TextEncoder().encode(":W&B"),
  0xe1,
  0xbe,
  0,
);

/**
 * Frames a record for the end of a log.
 *
 * @param at length of the log so far, its head included
 * @returns the bytes to append
 */
export function frameForLog(record: Uint8Array, at: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let place = at, from = 0, isFirst = true, isLast = false;
  while (!isLast) {
    const left = BLOCK_BYTES - place % BLOCK_BYTES;
    if (left < HEAD_BYTES) {
      parts.push(new Uint8Array(left));
      place += left;
      continue;
    }
    const length = Math.min(record.length - from, left - HEAD_BYTES);
    isLast = from + length === record.length;
    const body = new Uint8Array(1 + length);
    body[0] = isFirst ? (isLast ? FULL : FIRST) : isLast ? LAST : MIDDLE;
    body.set(record.subarray(from, from + length), 1);
    const head = new DataView(new ArrayBuffer(6));
    head.setUint32(0, crc32(body), true);
    head.setUint16(4, length, true);
    parts.push(new Uint8Array(head.buffer), body);
    place += HEAD_BYTES + length;
    from += length;
    isFirst = false;
  }
  return join(parts);
}

/** Values of JSON by key. */
type Items = Readonly<Record<string, unknown>>;

/** What a record says. */
export type WandbContent =
  | { readonly kind: "header"; readonly producer: string }
  | {
    readonly kind: "run";
    readonly id: string;
    readonly project: string;
    readonly entity: string | null;
    readonly name: string;
    readonly host: string;
    readonly startedAt: number;
    readonly config: Items;
  }
  /** All other metrics are drawn over `step`. */
  | { readonly kind: "stepAxis"; readonly step: string }
  | { readonly kind: "history"; readonly step: number; readonly items: Items }
  | { readonly kind: "summary"; readonly items: Items }
  | { readonly kind: "exit"; readonly code: number; readonly seconds: number };

const json = (value: unknown) => JSON.stringify(value) ?? "null";
/** `key`, `nested_key` and `value_json` of an item. */
const KEY = 1, NESTED_KEY = 2, VALUE_JSON = 16;

const itemsOf = (field: number, keyField: number, items: Items) =>
  Object.entries(items).map(([name, value]) =>
    message(field, text(keyField, name), text(VALUE_JSON, json(value)))
  );

function contentOf(content: WandbContent): Uint8Array[] {
  switch (content.kind) {
    case "header":
      return [message(21, message(1, text(1, content.producer), text(2, "0.40.0")))];
    case "run": {
      const { id, project, entity, name, host, startedAt, config } = content;
      const seconds = Math.floor(startedAt / 1000);
      return [message(
        17,
        text(1, id),
        ...(entity === null ? [] : [text(2, entity)]),
        text(3, project),
        message(4, ...itemsOf(1, KEY, config)),
        text(8, name),
        text(13, host),
        message(17, varint(1, seconds), varint(2, (startedAt % 1000) * 1_000_000)),
      )];
    }
    case "stepAxis": {
      const defined = varint(3, 1), stepSync = varint(1, 1);
      return [message(12, text(2, "*"), text(4, content.step), message(6, stepSync, defined))];
    }
    case "history":
      return [
        message(2, ...itemsOf(1, NESTED_KEY, content.items), message(2, varint(1, content.step))),
      ];
    case "summary":
      return [message(3, ...itemsOf(1, NESTED_KEY, content.items))];
    case "exit":
      return [message(18, varint(1, content.code), varint(2, Math.round(content.seconds)))];
  }
}

/**
 * Encodes a record.
 *
 * @param number its place in the file, from 1
 */
export function encodeWandbRecord(number: number, content: WandbContent): Uint8Array {
  return join([varint(1, number), ...contentOf(content)]);
}
