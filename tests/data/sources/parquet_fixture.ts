import { parquetWriteBuffer } from "hyparquet-writer";

/** A 1×1 red PNG. */
export const RED_PIXEL = Uint8Array.from(
  atob(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==",
  ),
  (char) => char.charCodeAt(0),
);

/** The same as base64. */
export const RED_PIXEL_BASE64 = btoa(String.fromCharCode(...RED_PIXEL));

/** Parquet with a text column, an int64 column and an `image` struct {bytes, path}. */
export function writeVqaParquet(
  path: string,
  rows: number,
  rowGroupSize = 1000,
  prefix = "row",
): void {
  const numbers = Array.from({ length: rows }, (_, i) => i);
  const buffer = parquetWriteBuffer({
    rowGroupSize,
    schema: [
      { name: "root", num_children: 4 },
      { name: "image", num_children: 2, repetition_type: "OPTIONAL" },
      { name: "bytes", type: "BYTE_ARRAY", repetition_type: "OPTIONAL" },
      { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "question", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "answer", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "number", type: "INT64", repetition_type: "OPTIONAL" },
    ],
    columnData: [
      {
        name: "image",
        data: numbers.map((i) => ({
          bytes: Uint8Array.from([...RED_PIXEL, i & 255]),
          path: `${i}.png`,
        })),
      },
      { name: "question", data: numbers.map((i) => `${prefix} ${i}?`) },
      { name: "answer", data: numbers.map((i) => `answer ${i}`) },
      { name: "number", data: numbers.map((i) => BigInt(i)) },
    ],
  });
  Deno.writeFileSync(path, new Uint8Array(buffer));
}
