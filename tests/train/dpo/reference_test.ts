import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { type DPOPair, pairBatch, type PairLogProbs } from "../../../src/train/dpo/examples.ts";
import {
  AdapterFreeReference,
  type DPOReference,
  FrozenReference,
} from "../../../src/train/dpo/reference.ts";
import {
  fillReferenceTable,
  referenceFingerprint,
} from "../../../src/train/dpo/reference_table.ts";
import { makeReference } from "../../../src/train/dpo/setup.ts";
import { examplesInOrder } from "../../../src/train/batches/made_ahead.ts";
import { writePreparedModel } from "../../../src/train/run/prepare_model.ts";
import { LORA, tinyConfig, type TinyRun, tinyRun } from "./tiny_dpo.ts";

/** A run, and the reference that its config asks for. */
async function runWithReference(
  overrides: readonly string[],
  outputDir: string,
  onProgress?: (done: number, total: number) => void,
): Promise<{ run: TinyRun; reference: DPOReference | null }> {
  const config = tinyConfig([
    ...overrides,
    "training.learning_rate=5e-2",
    `training.output_dir=${JSON.stringify(outputDir)}`,
  ]);
  const run = await tinyRun(config);
  const { prepared, groups, method: { parts: { maker, dataset } } } = run;
  const reference = await makeReference({
    config,
    prepared,
    groups,
    maker,
    train: dataset,
    evaluation: dataset,
    onProgress,
  });
  return { run, reference };
}

/** A reference's numbers for every training pair, asked one at a time. */
async function ask({ method, prepared }: TinyRun, reference: DPOReference): Promise<number[]> {
  const { model } = prepared;
  const numbers: number[] = [];
  for await (const placed of examplesInOrder(method.parts.dataset, false)) {
    const pairs = [await method.parts.maker.make(placed)];
    const batch = pairBatch(pairs, true, model);
    const { chosen, rejected } = await reference.logProbs({ pairs, batch });
    batch.dispose();
    numbers.push(chosen[0], rejected[0]);
  }
  return numbers;
}

function assertClose(got: number[], expected: number[]): void {
  assertEquals(got.length, expected.length);
  got.forEach((value, i) => assertAlmostEquals(value, expected[i], 2e-4));
}

const PRECOMPUTE = "dpo.precompute_ref_log_probs=true";

Deno.test("every choice of reference gives the log-probs of the model before training", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // [overrides, what the reference should be]
    const cases: [string[], string][] = [
      [LORA, "without its adapter"],
      [[...LORA, PRECOMPUTE], "kept on disk"],
      [[...LORA, "training.lr_mp=1e-2"], "kept on disk"],
      [[], "kept on disk"],
      [[`dpo.ref_model_name_or_path=${JSON.stringify(`${folder}/model`)}`], "model, log-prob"],
    ];
    let expected: number[] | null = null;
    for (const [i, [overrides, description]] of cases.entries()) {
      if (i === cases.length - 1) {
        using fresh = await tinyRun(tinyConfig());
        await Deno.mkdir(`${folder}/model`);
        await writePreparedModel(fresh.prepared, [], `${folder}/model`);
      }
      const { run, reference } = await runWithReference(overrides, `${folder}/out-${i}`);
      const frozen = new FrozenReference(run.prepared.model, run.groups);
      expected ??= await ask(run, new AdapterFreeReference(run.prepared.model));
      assert(reference!.description.includes(description), reference!.description);
      await run.update();
      await run.update();
      assertClose(await ask(run, reference!), expected);
      assertClose(await ask(run, frozen), expected);
      // The policy itself has moved on.
      const { model } = run.prepared;
      const policy = new AdapterFreeReference(model);
      policy.logProbs = async ({ pairs, batch }) => {
        const values = await model.labelLogProbs(batch)!.data();
        let at = 0;
        const sum = (count: number) => {
          let total = 0;
          for (const end = at + count; at < end; at++) total += values[at];
          return Float64Array.of(total);
        };
        return { chosen: sum(pairs[0].chosenLength), rejected: sum(pairs[0].rejectedLength) };
      };
      const moved = await ask(run, policy);
      assert(moved.some((value, i) => Math.abs(value - expected![i]) > 0.05));
      frozen.dispose();
      reference!.dispose();
      run[Symbol.dispose]();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a reference-free loss has no reference", async () => {
  const { run, reference } = await runWithReference(["dpo.reference_free=true"], "nowhere");
  assertEquals(reference, null);
  run[Symbol.dispose]();
});

Deno.test("a resumed run reads the reference's numbers instead of computing them", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const compute = async (overrides: string[]) => {
      let computed = 0;
      const { run, reference } = await runWithReference(overrides, folder, () => computed++);
      const numbers = await ask(run, reference!);
      reference!.dispose();
      run[Symbol.dispose]();
      return { computed, numbers };
    };
    const first = await compute([PRECOMPUTE]);
    assert(first.computed > 0);
    const again = await compute([PRECOMPUTE]);
    assertEquals(again.computed, 0);
    assertEquals(again.numbers, first.numbers);
    // Another model is another reference.
    const other = await compute([PRECOMPUTE, "training.seed=7"]);
    assert(other.computed > 0);
    assert(other.numbers[0] !== first.numbers[0]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a table holds what a short run needs, and is filled up if more is needed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using run = await tinyRun(tinyConfig());
    const { model, tokenizer } = run.prepared;
    const fingerprint = await referenceFingerprint(model, tokenizer, { data: "shapes" });
    assertEquals(fingerprint, await referenceFingerprint(model, tokenizer, { data: "shapes" }));
    assert(fingerprint !== await referenceFingerprint(model, tokenizer, { data: "others" }));
    const asked: number[] = [];
    const fill = async (
      count: number,
      name = fingerprint,
      value = -1,
      path = `${folder}/made/train.json`,
    ) => {
      async function* pairs(): AsyncGenerator<DPOPair> {
        let left = count;
        for await (const placed of examplesInOrder(run.method.parts.dataset, false)) {
          if (left-- === 0) return;
          yield await run.method.parts.maker.make(placed);
        }
      }
      return await fillReferenceTable({
        path,
        fingerprint: name,
        pairs: pairs(),
        batchSize: 2,
        logProbs: (batch): Promise<PairLogProbs> => {
          asked.push(...batch.map(({ row }) => row!));
          const values = Float64Array.from(batch, () => value);
          return Promise.resolve({ chosen: values, rejected: values });
        },
      });
    };
    assertEquals((await fill(3)).size, 3);
    assertEquals(asked, [0, 1, 2]);
    assertEquals((await fill(5)).size, 5);
    assertEquals(asked, [0, 1, 2, 3, 4]);
    await fill(2, "another");
    assertEquals(asked.slice(5), [0, 1]);
    // A file that was cut off is made again.
    await Deno.writeTextFile(`${folder}/cut.json`, '{"fingerprint": "a');
    assertEquals((await fill(1, "a", -1, `${folder}/cut.json`)).size, 1);
    await assertRejects(() => fill(1, "b", NaN), Error, "want finite numbers");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
