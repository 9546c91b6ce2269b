import { assertEquals, assertThrows } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import { findSplit, parseSplit, sliceBounds } from "../../../src/data/splits/split_spec.ts";

function bounds(expression: string, rows: number): [number, number] {
  const { start, end } = sliceBounds(parseSplit(expression)[0], rows);
  return [start, end];
}

Deno.test("sliceBounds() takes rows, from either end, and cuts at the length", () => {
  assertEquals(bounds("train", 50), [0, 50]);
  assertEquals(bounds("train[10:20]", 50), [10, 20]);
  assertEquals(bounds("train[:10]", 5), [0, 5]);
  assertEquals(bounds("train[-10:]", 50), [40, 50]);
  assertEquals(bounds("train[-1_000:]", 50), [0, 50]);
  assertEquals(bounds("train[:-5]", 50), [0, 45]);
  assertEquals(bounds("train[60:70]", 50), [50, 50]);
  assertEquals(bounds("train[30:20]", 50), [30, 30]);
});

Deno.test("sliceBounds() rounds per cents to the nearest row, halves to even, as datasets does", () => {
  assertEquals(bounds("train[:5%]", 7689), [0, 384]); // 384.45
  assertEquals(bounds("train[10%:20%]", 999), [100, 200]); // 99.9, 199.8
  assertEquals(bounds("train[:50%]", 5), [0, 2]); // 2.5
  assertEquals(bounds("train[:50%]", 7), [0, 4]); // 3.5
  assertEquals(bounds("train[-25%:]", 10), [8, 10]); // −2.5 → −2
  assertEquals(bounds("train[:33%]", 999), [0, 330]);
  assertEquals(bounds("train[:33%](pct1_dropremainder)", 999), [0, 297]);
});

Deno.test("parseSplit() reads sums of slices and names with dots, dashes and digits", () => {
  assertEquals(
    parseSplit("train[:10] + validation[5%:]").map((slice) => [slice.split, slice.percent]),
    [["train", false], ["validation", true]],
  );
  assertEquals(parseSplit("train-v1.2")[0].split, "train-v1.2");
});

for (
  const bad of ["", "train[", "train[1]", "train[a:b]", "train+", "train[:101%]", "train[::2]"]
) {
  Deno.test(`parseSplit() refuses ${JSON.stringify(bad)}`, () => {
    assertThrows(() => parseSplit(bad), DataError, "Cannot read the split");
  });
}

Deno.test("findSplit() takes the usual aliases and names the splits if there is none", () => {
  assertEquals(findSplit("dev", ["train", "validation"], "x"), "validation");
  assertEquals(findSplit("eval", ["train", "test"], "x"), "test");
  const error = assertThrows(() => findSplit("tets", ["train", "test"], "x"), DataError);
  assertEquals(
    error.message,
    'Cannot load split "tets" of x: it has train, test; did you mean test?',
  );
});
