import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  readSafetensors,
  readSafetensorsHeader,
  SafetensorsError,
  SafetensorsFile,
  writeSafetensors,
} from "../../../src/model/safetensors/safetensors.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../../src/ops/half/half_precision.ts";

const shared = new URL("../../../../shared/fixtures/", import.meta.url);
const hasShared = await Deno.stat(shared).then(() => true, () => false);
const folder = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

/** Writes a file from a header and data, however wrong. */
function forge(header: string | Uint8Array, data: Uint8Array, length?: bigint): string {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  const path = `${folder}/${crypto.randomUUID()}.safetensors`;
  Deno.writeFileSync(path, bytes);
  return path;
}

const lies: [string, string | Uint8Array, number, RegExp, bigint?][] = [
  ["a header longer than the file", "{}", 0, /claim a header of 4096 bytes/, 4096n],
  ["a header of 2^60 bytes", "{}", 0, /claim a header of 1152921504606846976 bytes/, 2n ** 60n],
  ["a header that is no JSON", "{nope", 0, /header is not JSON/],
  ["a header that is a list", "[]", 0, /not a JSON object/],
  ["a header that is no UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), 0, /not UTF-8/],
  [
    "a tensor beyond the end",
    `{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`,
    8,
    /tensor a ends at byte 16 of the data, but the file has only 8/,
  ],
  [
    "overlapping tensors",
    `{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}`,
    12,
    /tensor b starts at byte 4 and overlaps tensor a/,
  ],
  [
    "a hole between tensors",
    `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}}`,
    12,
    /4 bytes lie unclaimed between tensor a and b/,
  ],
  [
    "bytes after the last tensor",
    `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`,
    9,
    /accounts for 4 bytes of data, but 9 are there/,
  ],
  [
    "a shape that needs other bytes",
    `{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`,
    8,
    /tensor a: shape \[3\] of F32 needs 12 bytes, but data_offsets \[0, 8\] hold 8/,
  ],
  [
    "a dim of 2^60",
    `{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,8]}}`,
    8,
    /tensor a: its shape is/,
  ],
  [
    "dims whose product overflows",
    `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`,
    8,
    /more bytes than any file has/,
  ],
  [
    "a negative dim",
    `{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}`,
    8,
    /tensor a: its shape is \[-1,-2\]/,
  ],
  [
    "offsets of 2^60",
    `{"a":{"dtype":"U8","shape":[4],"data_offsets":[1152921504606846976,1152921504606846980]}}`,
    4,
    /data_offsets are/,
  ],
  [
    "offsets in reverse",
    `{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}`,
    4,
    /hold -4/,
  ],
  [
    "a name that comes twice",
    `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"\\u0061":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`,
    4,
    /names "a" twice/,
  ],
  [
    "an unknown type",
    `{"a":{"dtype":"F7","shape":[4],"data_offsets":[0,4]}}`,
    4,
    /dtype is "F7", want one of/,
  ],
  ["metadata that is no text", `{"__metadata__":{"a":1}}`, 0, /__metadata__.a is not a string/],
  ["a record that is a number", `{"a":5}`, 0, /tensor a: its header record is 5/],
];
for (const [what, header, dataBytes, message, length] of lies) {
  Deno.test(`readSafetensorsHeader() refuses ${what}`, () => {
    const path = forge(header, new Uint8Array(dataBytes), length);
    const error = assertThrows(() => readSafetensorsHeader(path), SafetensorsError);
    assert(message.test(error.message), error.message);
    assert(error.message.includes(path), error.message);
  });
}

Deno.test("SafetensorsFile.open() refuses every truncation of a good file", async () => {
  const path = `${folder}/whole.safetensors`;
  await writeSafetensors(path, [
    { name: "a", shape: [3], data: new Float32Array([1, 2, 3]) },
    { name: "b", shape: [5], data: new Uint8Array(5) },
  ]);
  const bytes = Deno.readFileSync(path);
  const cut = `${folder}/cut.safetensors`;
  for (let length = 0; length < bytes.length; length++) {
    Deno.writeFileSync(cut, bytes.subarray(0, length));
    assertThrows(() => SafetensorsFile.open(cut), SafetensorsError, "cut.safetensors");
  }
});

Deno.test("SafetensorsFile.open() names a missing file and an LFS pointer", () => {
  assertThrows(() => SafetensorsFile.open(`${folder}/none`), SafetensorsError, "no such file");
  const pointer = `${folder}/pointer`;
  Deno.writeTextFileSync(pointer, "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
  assertThrows(() => SafetensorsFile.open(pointer), SafetensorsError, "git lfs pull");
});

Deno.test("writeSafetensors() and readSafetensors() keep every type, scalars and empty tensors", async () => {
  const path = `${folder}/types.safetensors`;
  await writeSafetensors(path, [
    { name: "f32", shape: [2, 2], data: new Float32Array([1, -0, 1e-40, Infinity]) },
    { name: "f16", shape: [2], dtype: "F16", data: new Float32Array([0.5, 65504]) },
    { name: "bf16", shape: [2], dtype: "BF16", data: new Float32Array([0.5, -3]) },
    { name: "bits", shape: [1], dtype: "BF16", data: new Uint16Array([0x3f80]) },
    { name: "f64", shape: [1], dtype: "F64", data: new Float32Array([0.25]) },
    { name: "i32", shape: [], data: new Int32Array([-7]) },
    { name: "i64", shape: [1], data: new BigInt64Array([-(2n ** 62n)]) },
    { name: "u8", shape: [3], data: new Uint8Array([1, 2, 255]) },
    { name: "flag", shape: [2], dtype: "BOOL", data: new Uint8Array([0, 1]) },
    { name: "empty", shape: [0, 5], data: new Float32Array(0) },
    { name: "__proto__", shape: [1], data: () => Promise.resolve(new Float32Array([9])) },
  ], { metadata: { note: 'ü\n"' } });
  using file = SafetensorsFile.open(path);
  assertEquals(file.metadata, { note: 'ü\n"' });
  // Widest type first, then by name, as Python's writer sorts.
  const order = "i64 f64 __proto__ empty f32 i32 bf16 bits f16 u8 flag";
  assertEquals(file.names.join(" "), order);
  const tensors = await readSafetensors(path);
  assertEquals(tensors.get("f32")?.data, new Float32Array([1, -0, 1e-40, Infinity]));
  assertEquals(tensors.get("f16"), {
    shape: [2],
    dtype: "F16",
    data: new Float32Array([0.5, 65504]),
  });
  assertEquals(tensors.get("bf16")?.data, new Float32Array([0.5, -3]));
  assertEquals(tensors.get("bits")?.data, new Float32Array([1]));
  assertEquals(tensors.get("f64")?.data, new Float32Array([0.25]));
  assertEquals(tensors.get("i32"), { shape: [], dtype: "I32", data: new Int32Array([-7]) });
  assertEquals(tensors.get("i64")?.data, new BigInt64Array([-(2n ** 62n)]));
  assertEquals(tensors.get("u8")?.data, new Uint8Array([1, 2, 255]));
  assertEquals(tensors.get("flag")?.data, new Uint8Array([0, 1]));
  assertEquals(tensors.get("empty")?.shape, [0, 5]);
  assertEquals(tensors.get("__proto__")?.data, new Float32Array([9]));
  assertEquals(file.readRaw("bits").bytes, new Uint8Array([0x80, 0x3f]));
});

Deno.test("writeSafetensors() refuses what does not fit and leaves nothing behind", async () => {
  const inner = await Deno.makeTempDir({ dir: folder });
  const path = `${inner}/x.safetensors`;
  const one = new Float32Array(1);
  for (
    const [tensors, message] of [
      [[{ name: "a", shape: [2], data: one }], "wants 2 elements, got 1"],
      [[{ name: "a", shape: [1], data: one }, { name: "a", shape: [1], data: one }], "two tensors"],
      [[{ name: "a", shape: [1], dtype: "I32" as const, data: one }], "cannot be stored as I32"],
      [[{ name: "a", shape: [1], dtype: "F32" as const, data: new Int32Array(1) }], "as F32"],
    ] as const
  ) {
    await assertRejects(() => writeSafetensors(path, tensors), SafetensorsError, message);
    assertEquals([...Deno.readDirSync(inner)], []);
  }
});

Deno.test("float32ToFloat16() and float32ToBfloat16() round to nearest, ties to even", () => {
  const values = new Float32Array([1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25, NaN]);
  assertEquals([...float32ToFloat16(values)].slice(0, 5), [0x3c00, 0x3c02, 0x7bff, 0x7c00, 0]);
  const wide = new Float32Array([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, -Infinity, NaN, -0]);
  assertEquals(
    [...float32ToBfloat16(wide)],
    [0x3f80, 0x3f82, 0x7f80, 0xff80, 0x7fc0, 0x8000],
  );
});

Deno.test({
  name: "writeSafetensors() writes the bytes that Python's writer wrote (needs shared/fixtures)",
  ignore: !hasShared,
  async fn() {
    for (const name of ["model/model", "variants/untied/model", "lora/dora/adapter_model"]) {
      const source = new URL(`${name}.safetensors`, shared).pathname;
      using file = SafetensorsFile.open(source);
      const copy = `${folder}/copy.safetensors`;
      const metadata = Object.keys(file.metadata).length > 0 ? file.metadata : undefined;
      await writeSafetensors(
        copy,
        file.names.toReversed().map((name) => ({
          name,
          shape: file.entry(name).shape,
          data: () => file.read(name).data,
        })),
        { metadata },
      );
      assertEquals(Deno.readFileSync(copy), Deno.readFileSync(source), name);
    }
  },
});
