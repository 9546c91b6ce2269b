import { assert, assertEquals } from "@std/assert";
import type { GemmLibrary, Sgemm } from "../../../src/device/products/gemm_library.ts";
import {
  fastestOf,
  LibraryChoices,
  measure,
  type ProductShape,
  shapeKey,
} from "../../../src/device/products/library_choice.ts";

const SHAPE: ProductShape = { m: 96, n: 128, k: 64, transposeA: false, transposeB: true };

/** Libraries that do nothing for so many milliseconds, and count their calls. */
function pretended(milliseconds: readonly number[]) {
  const calls = milliseconds.map(() => 0);
  const libraries = milliseconds.map((ms, i): readonly [GemmLibrary, Sgemm] => [
    { name: `library${i}`, file: `lib${i}.so`, symbol: "cblas_sgemm" },
    () => {
      calls[i]++;
      const end = performance.now() + ms;
      while (performance.now() < end);
      return true;
    },
  ]);
  return { calls, libraries };
}

async function inFolder(use: (folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the first library stays unless another is clearly faster", () => {
  assertEquals(fastestOf([10, 9.9, 12]), 0);
  assertEquals(fastestOf([10, 12, 5]), 2);
  assertEquals(fastestOf([10]), 0);
});

Deno.test("similar sizes share a key; transposes and other sizes do not", () => {
  assertEquals(shapeKey(SHAPE), shapeKey({ ...SHAPE, n: 130 }));
  assert(shapeKey(SHAPE) !== shapeKey({ ...SHAPE, n: 256 }));
  assert(shapeKey(SHAPE) !== shapeKey({ ...SHAPE, k: 128 }));
  assert(shapeKey(SHAPE) !== shapeKey({ ...SHAPE, transposeA: true }));
});

Deno.test("the number of rows changes no choice, except that few are another choice than many", () => {
  assertEquals(shapeKey(SHAPE), shapeKey({ ...SHAPE, m: 9 }));
  assertEquals(shapeKey({ ...SHAPE, m: 1 }), shapeKey({ ...SHAPE, m: 8 }));
  assert(shapeKey(SHAPE) !== shapeKey({ ...SHAPE, m: 8 }));
  const gradient = { ...SHAPE, transposeA: true, transposeB: false };
  assertEquals(shapeKey(gradient), shapeKey({ ...gradient, k: 100_000 }));
  assert(shapeKey(gradient) !== shapeKey({ ...gradient, m: 1024 }));
});

Deno.test("a shape is measured once on a machine, and every later run makes the same choice", async () => {
  await inFolder((folder) => {
    const first = pretended([4, 1]);
    const choices = new LibraryChoices(first.libraries, folder);
    assertEquals(choices.choose(SHAPE), 1);
    const measured = [...first.calls];
    assert(measured.every((count) => count > 0));
    assertEquals([choices.choose(SHAPE), ...first.calls], [1, ...measured]);

    const second = pretended([1, 4]); // Measured again, it would be the other one.
    const later = new LibraryChoices(second.libraries, folder);
    assertEquals(later.choose({ ...SHAPE, m: 95 }), 1);
    assertEquals(second.calls, [0, 0]);
    assertEquals([...later.known()], [[shapeKey(SHAPE), "library1"]]);
    assertEquals(later.choose({ ...SHAPE, k: 1024 }), 0); // Another shape is measured.
    assert(second.calls[0] > 0);
  });
});

Deno.test("a choice that another process has made meanwhile is taken over", async () => {
  await inFolder((folder) => {
    const [one, two] = [pretended([4, 1]), pretended([1, 4])];
    const [a, b] = [one, two].map(({ libraries }) => new LibraryChoices(libraries, folder));
    b.known(); // It has read the file, which is empty.
    assertEquals(a.choose(SHAPE), 1);
    assertEquals(b.choose(SHAPE), 1);
    assertEquals(two.calls, [0, 0]);
  });
});

Deno.test("other libraries, a damaged file and a missing folder do not stop a run", async () => {
  await inFolder((folder) => {
    const { libraries } = pretended([4, 1]);
    const inside = `${folder}/deeper/cache`;
    assertEquals(new LibraryChoices(libraries, inside).choose(SHAPE), 1);
    Deno.writeTextFileSync(`${inside}/product_libraries.json`, "{ no JSON");
    assertEquals(new LibraryChoices(libraries, inside).choose(SHAPE), 1);
    assertEquals(new LibraryChoices(libraries.slice(0, 1), inside).choose(SHAPE), 0);
    assertEquals(new LibraryChoices(libraries, null).choose(SHAPE), 0);
    assertEquals(
      new LibraryChoices(libraries, `${inside}/product_libraries.json`).choose(SHAPE),
      0,
    );
  });
});

Deno.test({
  name: "nothing is measured without permission to write, and what is known is used",
  permissions: { read: true, write: false, env: true },
  fn() {
    const { libraries, calls } = pretended([4, 1]);
    const choices = new LibraryChoices(libraries, "/tmp");
    assertEquals([choices.measures, choices.choose(SHAPE), ...calls], [false, 0, 0, 0]);
  },
});

Deno.test("measure() gives each library its own fastest time, on shapes of any size", () => {
  for (const shape of [SHAPE, { ...SHAPE, m: 1, n: 1, k: 1 }, { ...SHAPE, n: 49216, k: 768 }]) {
    const [slow, fast] = measure(shape, pretended([2, 0.2]).libraries.map(([, sgemm]) => sgemm));
    assert(slow >= 2 && fast >= 0.2 && fast < slow, `${slow} ${fast}`);
  }
});

Deno.test("choices of an earlier run are taken over for shapes that are not known, and change no others", async () => {
  await inFolder((folder) => {
    const { calls, libraries } = pretended([1, 4]);
    const choices = new LibraryChoices(libraries, folder);
    const other = { ...SHAPE, k: 1024 };
    assertEquals(choices.choose(other), 0);
    const measured = [...calls];
    choices.adopt(
      new Map([[shapeKey(SHAPE), "library1"], [shapeKey(other), "library1"], ["nn 1 1 1", "gone"]]),
    );
    assertEquals([choices.choose(SHAPE), choices.choose(other)], [1, 0]);
    assertEquals(calls, measured);
    assertEquals(new LibraryChoices(libraries, folder).choose(SHAPE), 1);
    assertEquals(choices.known().size, 2);
  });
});
