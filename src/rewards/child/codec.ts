/**
 * Converts plain values to bytes and back, for the channel between host and child: null, undefined,
 * booleans, numbers, bigints, strings, dates, typed arrays, arrays and plain objects. Decoding makes
 * plain data only.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */

/** Bounds of a value. The depth is bounded always. */
export interface CodecLimits {
  /** Encoded size. */
  bytes: number;
  /** Values of all kinds, nested ones included. A value counts each time it occurs. */
  items: number;
}

/** Both directions of the codec. */
export interface Codec {
  /** @throws {TypeError} if a value is not plain data, or over its limits; the text names its path. */
  encode(value: unknown, limits?: CodecLimits): Uint8Array<ArrayBuffer>;
  /** @throws {TypeError} if `encode` did not make the bytes, or they are over the limits. */
  decode(bytes: Uint8Array, limits?: CodecLimits): unknown;
}

/** Makes a {@linkcode Codec}. */
export function makeCodec(): Codec {
  const MAX_BYTES = 1 << 30;
  const MAX_DEPTH = 128;
  const MAX_LENGTH = 50_000_000;
  const TAG = {
    null: 0,
    undefined: 1,
    false: 2,
    true: 3,
    number: 4,
    string: 5,
    bigint: 6,
    date: 7,
    bytes: 8,
    array: 9,
    object: 10,
    numbers: 11,
  };
  const views = [
    Uint8Array,
    Int8Array,
    Uint8ClampedArray,
    Uint16Array,
    Int16Array,
    Uint32Array,
    Int32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
    Float16Array,
  ];
  const utf8 = new TextEncoder();
  const text = new TextDecoder("utf-8", { ignoreBOM: true });

  function encode(value: unknown, limits?: CodecLimits): Uint8Array<ArrayBuffer> {
    const maxBytes = Math.min(MAX_BYTES, limits?.bytes ?? MAX_BYTES);
    let itemsLeft = limits?.items ?? Infinity;
    let bytes = new Uint8Array(4096);
    let view = new DataView(bytes.buffer);
    let at = 0;

    function room(size: number): void {
      if (at + size <= bytes.length) return;
      if (at + size > maxBytes) throw new TypeError(`value is larger than ${maxBytes} bytes`);
      const next = new Uint8Array(Math.min(maxBytes, Math.max(bytes.length * 2, at + size)));
      next.set(bytes.subarray(0, at));
      bytes = next;
      view = new DataView(bytes.buffer);
    }
    function tag(code: number): void {
      room(1);
      bytes[at++] = code;
    }
    function u32(n: number): void {
      room(4);
      view.setUint32(at, n);
      at += 4;
    }
    function f64(n: number): void {
      room(8);
      view.setFloat64(at, n);
      at += 8;
    }
    function string(s: string): void {
      // A character takes one to three bytes; reserve the most only if the limit allows it.
      room(4 + (at + 4 + s.length * 3 > maxBytes ? utf8.encode(s).length : s.length * 3));
      const written = utf8.encodeInto(s, bytes.subarray(at + 4)).written;
      view.setUint32(at, written);
      at += 4 + written;
    }
    function array(items: unknown[], path: string, depth: number): void {
      const length = items.length;
      if (length > MAX_LENGTH) throw new TypeError(`${path} has ${length} items: too many`);
      let numeric = length > 8;
      for (let i = 0; numeric && i < length; i++) numeric = typeof items[i] === "number";
      // Numbers are bounded by their bytes.
      if (!numeric && length > itemsLeft) {
        throw new TypeError(`${path} has ${length} items: too many`);
      }
      tag(numeric ? TAG.numbers : TAG.array);
      u32(length);
      for (let i = 0; i < length; i++) {
        if (numeric) f64(items[i] as number);
        else put(items[i], `${path}[${i}]`, depth + 1);
      }
    }
    function object(value: object, path: string, depth: number): void {
      const proto = Object.getPrototypeOf(value);
      if (proto !== null && proto !== Object.prototype) {
        const name = typeof proto.constructor === "function" ? proto.constructor.name : "object";
        throw new TypeError(`${path} is a ${name}: want plain data`);
      }
      const keys = Object.keys(value);
      tag(TAG.object);
      u32(keys.length);
      for (const key of keys) {
        string(key);
        put((value as Record<string, unknown>)[key], `${path}.${key}`, depth + 1);
      }
    }
    function buffer(value: object): void {
      const source = ArrayBuffer.isView(value)
        ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
        : new Uint8Array(value as ArrayBuffer);
      const kind = views.findIndex((View) => value instanceof View);
      tag(TAG.bytes);
      tag(Math.max(0, kind));
      u32(source.length);
      room(source.length);
      bytes.set(source, at);
      at += source.length;
    }
    function put(value: unknown, path: string, depth: number): void {
      if (--itemsLeft < 0) throw new TypeError("value has too many items in all");
      if (depth > MAX_DEPTH) throw new TypeError(`${path.slice(0, 60)}… is nested too deeply`);
      if (value === null) return tag(TAG.null);
      switch (typeof value) {
        case "undefined":
          return tag(TAG.undefined);
        case "boolean":
          return tag(value ? TAG.true : TAG.false);
        case "number":
          tag(TAG.number);
          return f64(value);
        case "string":
          tag(TAG.string);
          return string(value);
        case "bigint":
          if (value > 2n ** 4096n || value < -(2n ** 4096n)) {
            throw new TypeError(`${path} is a bigint of more than 4,096 bits`);
          }
          tag(TAG.bigint);
          return string(String(value));
        case "object":
          if (Array.isArray(value)) return array(value, path, depth);
          if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return buffer(value);
          if (value instanceof Date) {
            tag(TAG.date);
            return f64(value.getTime());
          }
          return object(value, path, depth);
        default:
          throw new TypeError(`${path} is a ${typeof value}: want plain data`);
      }
    }
    put(value, "value", 0);
    if (at > maxBytes) throw new TypeError(`value is larger than ${maxBytes} bytes`);
    return bytes.subarray(0, at);
  }

  function decode(bytes: Uint8Array, limits?: CodecLimits): unknown {
    if (bytes.length > (limits?.bytes ?? Infinity)) {
      throw new TypeError(`encoded value has ${bytes.length} bytes: too many`);
    }
    let itemsLeft = limits?.items ?? Infinity;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    function u32(): number {
      const n = view.getUint32(at);
      at += 4;
      return n;
    }
    function take(size: number): Uint8Array {
      if (at + size > bytes.length) throw new TypeError("encoded value ends early");
      at += size;
      return bytes.subarray(at - size, at);
    }
    function f64(): number {
      const n = view.getFloat64(at);
      at += 8;
      return n;
    }
    function get(depth: number): unknown {
      if (depth > MAX_DEPTH) throw new TypeError("encoded value is nested too deeply");
      if (--itemsLeft < 0) throw new TypeError("encoded value has too many items");
      const code = take(1)[0];
      switch (code) {
        case TAG.null:
          return null;
        case TAG.undefined:
          return undefined;
        case TAG.false:
          return false;
        case TAG.true:
          return true;
        case TAG.number:
          return f64();
        case TAG.string:
          return text.decode(take(u32()));
        case TAG.bigint:
          return BigInt(text.decode(take(u32())));
        case TAG.date:
          return new Date(f64());
        case TAG.bytes: {
          const View = views[take(1)[0]];
          const copy = take(u32()).slice();
          return View === Uint8Array ? copy : new View(copy.buffer);
        }
        case TAG.numbers:
        case TAG.array: {
          const length = u32();
          if (length > bytes.length) throw new TypeError("encoded array is longer than its bytes");
          if (code === TAG.array && length > itemsLeft) {
            throw new TypeError("encoded value has too many items");
          }
          const items: unknown[] = [];
          for (let i = 0; i < length; i++) {
            items.push(code === TAG.numbers ? f64() : get(depth + 1));
          }
          return items;
        }
        case TAG.object: {
          const record: Record<string, unknown> = {};
          for (let count = u32(); count > 0; count--) {
            const key = text.decode(take(u32()));
            const value = get(depth + 1);
            if (key === "__proto__") {
              Object.defineProperty(record, key, {
                value,
                enumerable: true,
                writable: true,
                configurable: true,
              });
            } else record[key] = value;
          }
          return record;
        }
        default:
          throw new TypeError(`encoded value has the unknown tag ${code}`);
      }
    }
    const value = get(0);
    if (at !== bytes.length) throw new TypeError("encoded value has bytes left over");
    return value;
  }

  return { encode, decode };
}
