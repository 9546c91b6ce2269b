import { assertEquals, assertThrows } from "@std/assert";
import { numpyPermutation, PCG64, seedSequence } from "../../../src/data/splits/numpy_random.ts";

Deno.test("seedSequence() is NumPy's SeedSequence", () => {
  assertEquals(seedSequence(42, 8), [
    3444837047,
    2669555309,
    2046530742,
    3581440988,
    1691623607,
    2099784219,
    1184028159,
    862288241,
  ]);
});

Deno.test("PCG64 gives the bits of numpy.random.PCG64", () => {
  const random = new PCG64(42);
  assertEquals([random.next64(), random.next64(), random.next64()], [
    14276969152011380360n,
    8095878257575067585n,
    15838336090824644132n,
  ]);
});

// numpy 2.4.6: np.random.default_rng(seed).permutation(n).tolist()
const recorded: [n: number, seed: number, order: number[]][] = [
  [0, 42, []],
  [1, 42, [0]],
  [2, 42, [1, 0]],
  [7, 0, [2, 4, 3, 6, 5, 0, 1]],
  [10, 42, [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]],
  [12, 42, [0, 7, 6, 9, 11, 3, 5, 2, 4, 10, 1, 8]],
  [13, 1, [1, 10, 7, 9, 12, 4, 5, 8, 0, 2, 11, 6, 3]],
  [20, 123456789, [18, 9, 16, 17, 10, 5, 11, 4, 15, 0, 8, 3, 7, 14, 2, 1, 6, 12, 19, 13]],
  [9, 4294967301, [5, 6, 2, 4, 0, 8, 7, 3, 1]],
];
for (const [n, seed, order] of recorded) {
  Deno.test(`numpyPermutation(${n}, ${seed}) is numpy's`, () => {
    assertEquals([...numpyPermutation(n, seed)], order);
  });
}

// The first eight bytes of hashlib.sha256(permutation.astype("<u4").tobytes())
const hashed: [n: number, seed: number, hash: string][] = [
  [100, 42, "c32124a6f05844c5"],
  [1000, 1, "452564f7aec3c90f"],
  [4000, 42, "795d3bc222d9af63"],
  [100003, 42, "2b6e99bcd166ed93"],
  [1000000, 7, "9f1413ae8832e1fc"],
  [50, 4294967301, "cf150d02eaea162a"],
  [33, 9007199254740991, "d126ef47c2371549"],
];
for (const [n, seed, hash] of hashed) {
  Deno.test(`numpyPermutation(${n}, ${seed}) has the hash of numpy's`, async () => {
    const bytes = new Uint32Array(numpyPermutation(n, seed));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    assertEquals(
      [...digest.slice(0, 8)].map((b) => b.toString(16).padStart(2, "0")).join(""),
      hash,
    );
  });
}

Deno.test("a seed that numpy does not take is an error", () => {
  for (const seed of [-1, 0.5, NaN]) {
    assertThrows(() => numpyPermutation(3, seed), RangeError, "want an integer from 0");
  }
});
