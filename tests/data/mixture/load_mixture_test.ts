import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import type { InterleaveOptions } from "../../../src/data/mixture/interleave.ts";
import { loadMixture, type MixtureSet } from "../../../src/data/mixture/load_mixture.ts";
import type { VqaExample } from "../../../src/data/rows/formats.ts";
import { ExampleStream } from "../../../src/train/batches/example_stream.ts";

type Examples = AsyncIterable<VqaExample>;
const questions = (dataset: Examples) => Array.fromAsync(dataset, ({ turns }) => turns[0].user);

/** Files of so many rows each; set `b` has other column names. */
async function withSets(
  counts: Readonly<Record<string, number>>,
  run: (sets: (streaming?: boolean) => MixtureSet<"vqa">[], folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, count] of Object.entries(counts)) {
      const [question, answer] = name === "b" ? ["asked", "told"] : ["question", "answer"];
      const lines = Array.from(
        { length: count },
        (_, i) => JSON.stringify({ [question]: `${name}${i}`, [answer]: "x" }),
      );
      Deno.writeTextFileSync(`${folder}/${name}.jsonl`, lines.join("\n"));
    }
    const sets = (streaming = false) =>
      Object.keys(counts).map((name): MixtureSet<"vqa"> => ({
        name,
        options: {
          format: "vqa",
          trainPath: `${folder}/${name}.jsonl`,
          streaming,
          renameColumns: name === "b" ? { asked: "question", told: "answer" } : {},
        },
      }));
    await run(sets, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const withoutEvaluation = (sets: readonly MixtureSet<"vqa">[]) =>
  sets.map(({ name, options }) => ({ name, options: { ...options, evaluation: false } }));

const half: InterleaveOptions = {
  probabilities: [0.5, 0.3, 0.2],
  stoppingStrategy: "first_exhausted",
  seed: 42,
};

Deno.test("a mixture has the rows of datasets.interleave_datasets, streamed or not", () =>
  withSets({ a: 3, b: 7, c: 20 }, async (sets) => {
    // Recorded in interleave_test.ts; set b has its own column names.
    const expected = ["b0", "a0", "c0", "b1", "a1", "c1", "b2", "b3", "a2"];
    const atRandom = await loadMixture(withoutEvaluation(sets()), half);
    assertEquals(await questions(atRandom.train), expected);
    assertEquals(atRandom.shares?.map(({ rows }) => rows), [3, 4, 2]);
    const stream = await loadMixture(withoutEvaluation(sets(true)), half);
    assertEquals(await questions(stream.train), expected);
    const all = { ...half, stoppingStrategy: "all_exhausted" as const };
    const whole = await questions((await loadMixture(withoutEvaluation(sets()), all)).train);
    assertEquals(whole.length, 137);
    assertEquals(
      await questions((await loadMixture(withoutEvaluation(sets(true)), all)).train),
      whole,
    );
  }));

Deno.test("each set is split on its own, and evaluated under its own name", () =>
  withSets({ a: 10, b: 20, c: 30 }, async (sets) => {
    const { train, evaluation } = await loadMixture(sets(), {
      probabilities: null,
      stoppingStrategy: "all_exhausted",
      seed: 0,
    });
    const [trained, held] = [await questions(train), await questions(evaluation!)];
    assertEquals(trained.length, 3 * 24); // in turn, until the 24 training rows of c are taken
    assertEquals(held.filter((one) => trained.includes(one)), []);
    assertEquals(new Set([...trained, ...held]).size, 60);
    assertEquals(evaluation!.sets.map(({ name }) => name), ["a", "b", "c"]);
    const bySet = await Promise.all(evaluation!.sets.map(({ dataset }) => questions(dataset)));
    assertEquals(bySet.map((rows) => rows.length), [2, 4, 6]);
    bySet.forEach((rows, i) => assert(rows.every((row) => row.startsWith("abc"[i]))));
  }));

Deno.test("a row that a mixture repeats is another row to the shuffle", () =>
  withSets({ a: 2, b: 40 }, async (sets) => {
    const { train } = await loadMixture(withoutEvaluation(sets()), {
      probabilities: [0.5, 0.5],
      stoppingStrategy: "all_exhausted",
      seed: 1,
    });
    assert(!train.streaming);
    const rows = new Set(Array.from({ length: train.length }, (_, i) => train.rowOf(i)));
    assertEquals(rows.size, train.length);
  }));

for (const streaming of [false, true]) {
  const how = streaming ? "streamed" : "at random";
  Deno.test(`the order of a mixture ${how} is the same for a seed, and resumed to the row`, () =>
    withSets({ a: 30, b: 50, c: 200 }, async (sets) => {
      const open = async (seed: number) =>
        new ExampleStream(
          (await loadMixture(withoutEvaluation(sets(streaming)), half)).train,
          seed,
        );
      const take = async (stream: ExampleStream<VqaExample>, count: number) => {
        const taken: string[] = [];
        while (taken.length < count) {
          taken.push((await stream.next())?.example.turns[0].user ?? "end");
        }
        return taken;
      };
      const whole = await open(1);
      const rows = await take(whole, 150); // two epochs and more
      assertEquals(await take(await open(1), 150), rows);
      const other = await take(await open(2), 150);
      assert(other.some((row, i) => row !== rows[i]));
      for (const at of [1, 17, 70, 149]) {
        const first = await open(1);
        assertEquals(await take(first, at), rows.slice(0, at));
        const resumed = await open(1);
        resumed.seek(first.cursor);
        assertEquals(await take(resumed, 150 - at), rows.slice(at));
      }
    }));
}

Deno.test("fingerprints of mixtures tell data and probabilities apart", () =>
  withSets({ a: 10, b: 10 }, async (sets) => {
    const print = async (probabilities: number[], seed = 0) =>
      (await loadMixture(sets(), { ...half, probabilities, seed })).train.fingerprint;
    const first = await print([0.5, 0.5]);
    assertEquals(await print([0.5, 0.5]), first);
    assert(await print([0.4, 0.6]) !== first);
    assert(await print([0.5, 0.5], 1) !== first);
  }));

Deno.test("an error of a set names it", () =>
  withSets({ a: 3, b: 3 }, async (sets) => {
    const [a, b] = sets();
    const wrong = { ...b, options: { ...b.options, trainSplit: "nothing" } };
    await assertRejects(
      () => loadMixture([a, wrong], half),
      DataError,
      "data set b of the mixture",
    );
  }));
