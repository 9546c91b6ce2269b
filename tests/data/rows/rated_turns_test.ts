import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import { datasetFromRows, loadDataset } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";

const turn = (user: string) => ({ user, assistant: "x" });

/** Rows as in FineVision: four columns of ratings, an entry for each turn. */
const rows: Row[] = [
  {
    texts: [turn("a"), turn("b"), turn("c")],
    relevance_ratings: [5, 2, null],
    formatting_ratings: [5, 5, 5],
  },
  { texts: [turn("d")], relevance_ratings: [1], formatting_ratings: [5] },
  { texts: [turn("e"), turn("f")], relevance_ratings: null, formatting_ratings: [1, 4] },
];

const asked = async (
  ratings: Record<string, number>,
  splitTurns = false,
): Promise<[string[][], readonly string[]]> => {
  const dataset = await datasetFromRows(rows, { format: "vqa", ratings, splitTurns });
  const turns = await Array.fromAsync(dataset, ({ turns }) => turns.map(({ user }) => user));
  return [turns, dataset.notes];
};

Deno.test("turns below a least rating are left out, those without a rating stay", async () => {
  assertEquals((await asked({}))[0], [["a", "b", "c"], ["d"], ["e", "f"]]);
  assertEquals((await asked({ relevance_min_rating: 1 }))[0], [["a", "b", "c"], ["d"], ["e", "f"]]);
  const [turns, notes] = await asked({ relevance_min_rating: 3, formatting_min_rating: 4 });
  assertEquals(turns, [["a", "c"], ["f"]]);
  assertEquals(notes, ["3 turns are left out by their ratings, 1 rows whole"]);
  assertEquals((await asked({ relevance_min_rating: 3 }, true))[0], [["a"], ["c"], ["e"], ["f"]]);
});

Deno.test("a stream leaves out the same turns", async () => {
  const folder = await Deno.makeTempDir();
  try {
    Deno.writeTextFileSync(`${folder}/t.jsonl`, rows.map((row) => JSON.stringify(row)).join("\n"));
    const stream = await loadDataset({
      path: folder,
      format: "vqa",
      streaming: true,
      ratings: { relevance_min_rating: 3 },
    });
    assertEquals(
      await Array.fromAsync(stream, ({ turns }) => turns.map(({ user }) => user)),
      [["a", "c"], ["e", "f"]],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("ratings that are not there are told, and ratings without texts refused", async () => {
  const [, notes] = await asked({ visual_dependency_min_rating: 3 });
  assert(notes[0].includes("no column visual_dependency_ratings"), notes[0]);
  const bare = [{ question: "q", answer: "a", relevance_ratings: [5] }];
  await assertRejects(
    () => datasetFromRows(bare, { format: "vqa", ratings: { relevance_min_rating: 3 } }),
    DataError,
    "remove dataset.relevance_min_rating",
  );
  await assertRejects(
    () =>
      datasetFromRows(rows.slice(1, 2), { format: "vqa", ratings: { relevance_min_rating: 3 } }),
    DataError,
    "lower the least ratings",
  );
});
