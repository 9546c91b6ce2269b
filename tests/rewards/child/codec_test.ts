import { assertEquals, assertThrows } from "@std/assert";
import { makeCodec } from "../../../src/rewards/child/codec.ts";

const codec = makeCodec();
const there = (value: unknown): unknown => codec.decode(codec.encode(value));

Deno.test("the codec restores every kind of plain data", () => {
  const value = {
    nothing: null,
    missing: undefined,
    yes: true,
    no: false,
    number: -1.5e300,
    notANumber: NaN,
    negativeZero: -0,
    text: "a\u0000ß🙂\uFEFF",
    empty: "",
    big: -12345678901234567890n,
    day: new Date(1e12),
    bytes: new Uint8Array([0, 255]),
    floats: new Float32Array([1.5, -2]),
    longs: new BigInt64Array([-1n]),
    numbers: Array.from({ length: 50 }, (_, i) => i / 3),
    nested: [[1], ["a", [null]], {}],
  };
  assertEquals(there(value), value);
});

Deno.test("the codec keeps __proto__ as an ordinary key", () => {
  const value = JSON.parse('{"__proto__": {"polluted": 1}}');
  const copy = there(value) as Record<string, unknown>;
  assertEquals(Object.hasOwn(copy, "__proto__"), true);
  assertEquals(copy.polluted, undefined);
});

Deno.test("the codec encodes a view's own bytes and not its whole buffer", () => {
  const view = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
  assertEquals(there(view), new Uint8Array([2, 3]));
});

Deno.test("the codec refuses what is not plain data and names its path", () => {
  for (const value of [() => 1, Symbol("s"), new Map(), /x/, new Error("x"), Promise.resolve()]) {
    assertThrows(() => codec.encode({ rows: [1, { value }] }), TypeError, "value.rows[1].value");
  }
  const deep: unknown[] = [];
  let at = deep;
  for (let i = 0; i < 1000; i++) {
    const next: unknown[] = [];
    at.push(next);
    at = next;
  }
  assertThrows(() => codec.encode(deep), TypeError, "nested too deeply");
});

Deno.test("the codec refuses bytes that it did not encode", () => {
  const bytes = codec.encode({ a: [1, "two", new Uint8Array(9)] });
  for (let cut = 0; cut < bytes.length; cut++) {
    assertThrows(() => codec.decode(bytes.subarray(0, cut)), Error);
  }
  assertThrows(() => codec.decode(new Uint8Array([...bytes, 0])), TypeError, "left over");
  assertThrows(() => codec.decode(new Uint8Array([99])), TypeError, "unknown tag");
  assertThrows(() => codec.decode(new Uint8Array([9, 255, 255, 255, 255])), TypeError, "longer");
});
