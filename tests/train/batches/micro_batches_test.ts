import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import type { Dataset } from "../../../src/data/dataset.ts";
import type { VqaExample } from "../../../src/data/rows/formats.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { PlacedExample } from "../../../src/train/batches/example_stream.ts";
import { examplesInOrder, madeAhead } from "../../../src/train/batches/made_ahead.ts";
import { MicroBatches, type MicroBatchOptions } from "../../../src/train/batches/micro_batches.ts";

const SIZES: MicroBatchOptions = {
  batchSize: 2,
  gradientAccumulationSteps: 2,
  dropLast: false,
  groupByLength: false,
  seed: 3,
};

/** A data set of `count` rows; row 7 asks "7". */
function numbered(count: number): Promise<Dataset<VqaExample>> {
  const rows = Array.from({ length: count }, (_, i) => ({
    texts: [{ user: String(i), assistant: "x" }],
  }));
  return datasetFromRows(rows, { format: "vqa" });
}

/** Makes the number of a row, later for some than for others; `bad` ones are skipped. */
function maker(bad: readonly number[] = [], asked: number[] = []) {
  return async ({ example }: PlacedExample<VqaExample>): Promise<number> => {
    const number = Number(example.turns[0].user);
    asked.push(number);
    await new Promise((resolve) => setTimeout(resolve, number % 3));
    if (bad.includes(number)) throw new RowSkipped(`${number} is bad`);
    return number;
  };
}

/** The next steps, with the cursor after each. */
async function take(batches: MicroBatches<VqaExample, number>, count: number, more: boolean) {
  const steps: unknown[] = [];
  for (let i = 0; i < count; i++) {
    const { batches: step, epochEnded } = await batches.next(more);
    steps.push({ step, epochEnded, cursor: batches.cursor, epoch: batches.epoch });
  }
  return steps;
}

Deno.test("steps made ahead are those made when they are asked for, cursors and all", async () => {
  const bad = [3, 11, 12];
  for (const dropLast of [false, true]) {
    const make = async (more: boolean) => {
      const dataset = await numbered(38);
      const batches = new MicroBatches(dataset, maker(bad), { ...SIZES, dropLast });
      const steps = await take(batches, 21, more);
      await batches.release();
      return steps;
    };
    assertEquals(await make(true), await make(false));
  }
});

Deno.test("an example is used once an epoch, the bad ones never", async () => {
  const batches = new MicroBatches(await numbered(38), maker([3, 11, 12]), SIZES);
  const used: number[] = [];
  for (let ended = false; !ended;) {
    const step = await batches.next(true);
    used.push(...step.batches.flat());
    ended = step.epochEnded;
  }
  await batches.release();
  const good = [...Array(38).keys()].filter((number) => ![3, 11, 12].includes(number));
  assertEquals(used.toSorted((a, b) => a - b), good);
});

Deno.test("a run goes on from the cursor of any step, though another was being made", async () => {
  const dataset = await numbered(30);
  const whole = await take(new MicroBatches(dataset, maker(), SIZES), 14, false);
  for (const stop of [1, 5, 8]) {
    const stopped = new MicroBatches(dataset, maker(), SIZES);
    await take(stopped, stop, true);
    const cursor = JSON.parse(JSON.stringify(stopped.cursor));
    await stopped.release();
    const resumed = new MicroBatches(dataset, maker(), SIZES);
    resumed.seek(cursor);
    assertEquals(await take(resumed, 14 - stop, true), whole.slice(stop), `after ${stop}`);
    await resumed.release();
    // The one that was stopped can itself go on, also from where it was before.
    assertEquals(await take(stopped, 14 - stop, false), whole.slice(stop));
    stopped.seek(cursor);
    assertEquals(await take(stopped, 14 - stop, true), whole.slice(stop));
    await stopped.release();
  }
});

Deno.test("the next step's examples are being made when a step is given, and no more than those", async () => {
  const asked: number[] = [];
  const batches = new MicroBatches(await numbered(40), maker([], asked), SIZES);
  const { batches: first } = await batches.next(true);
  assertEquals(asked.slice(0, 4), first.flat());
  assertEquals(asked.length, 8, "all of the next step is on its way");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals(asked.length, 8, "one step ahead, not two");
  const second = await batches.next(false);
  assertEquals(asked.slice(4), second.batches.flat());
  await batches.release();
});

Deno.test("rows that are skipped count when their step begins, not while it is being made", async () => {
  const dataset = await numbered(30);
  const order = (await take(new MicroBatches(dataset, maker(), SIZES), 2, false))
    .flatMap((step) => (step as { step: number[][] }).step.flat());
  const batches = new MicroBatches(dataset, maker([order[5]]), SIZES);
  await batches.next(true);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals(dataset.skipped.count, 0);
  await batches.next(true);
  assertEquals(dataset.skipped.rows.map(({ reason }) => reason), [`${order[5]} is bad`]);
  await batches.release();
});

Deno.test("too many bad rows stop the step that meets them, before the whole set was looked at", async () => {
  const asked: number[] = [];
  const dataset = await numbered(200);
  const all = [...Array(200).keys()];
  const order = (await take(new MicroBatches(dataset, maker(), SIZES), 1, false))
    .flatMap((step) => (step as { step: number[][] }).step.flat());
  const bad = all.filter((number) => !order.includes(number));
  const batches = new MicroBatches(dataset, maker(bad, asked), SIZES);
  assertEquals((await batches.next(true)).batches.flat(), order);
  await assertRejects(() => batches.next(true), DataError, "more than 10 %");
  assert(asked.length < 40, `${asked.length} rows were looked at`);
});

Deno.test("an error that is no bad row comes with the step that it belongs to", async () => {
  const dataset = await numbered(12);
  const whole = await take(new MicroBatches(dataset, maker(), SIZES), 2, false);
  const culprit = (whole[1] as { step: number[][] }).step[0][1];
  const batches = new MicroBatches(dataset, async (placed) => {
    const number = await maker()(placed);
    if (number === culprit) throw new TypeError("no decoder");
    return number;
  }, SIZES);
  assertEquals((await batches.next(true)).batches, (whole[0] as { step: number[][] }).step);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await assertRejects(() => batches.next(true), TypeError, "no decoder");
});

Deno.test("a set of bad rows alone says so", async () => {
  const batches = new MicroBatches(await numbered(8), maker([...Array(8).keys()]), SIZES);
  await assertRejects(() => batches.next(), Error, "Cannot use");
});

Deno.test("madeAhead() gives all usable examples in order, some of them in the making", async () => {
  const dataset = await numbered(30);
  const asked: number[] = [];
  const made: number[] = [];
  let most = 0;
  const rows = examplesInOrder(dataset, true);
  for await (const one of madeAhead(rows, dataset, maker([4, 5], asked), 6)) {
    made.push(one.made);
    most = Math.max(most, asked.length - made.length - dataset.skipped.count);
    assertEquals(one.example.turns[0].user, String(one.made));
  }
  assertEquals(made, [...Array(30).keys()].filter((number) => number !== 4 && number !== 5));
  assertEquals(dataset.skipped.count, 2);
  assertEquals(most, 5);
});

Deno.test("epoch counts batches, full or not, as Trainer does", async () => {
  const dataset = await numbered(5);
  const sizes = { ...SIZES, batchSize: 2, gradientAccumulationSteps: 1 };
  const epochs = async (dropLast: boolean, count: number) => {
    const batches = new MicroBatches(dataset, maker(), { ...sizes, dropLast });
    const seen: number[] = [];
    for (let i = 0; i < count; i++) {
      await batches.next(false);
      seen.push(batches.epoch);
    }
    await batches.release();
    return seen.map((epoch) => Number(epoch.toFixed(4)));
  };
  assertEquals(await epochs(false, 6), [0.3333, 0.6667, 1, 1.3333, 1.6667, 2]);
  assertEquals(await epochs(true, 4), [0.5, 1, 1.5, 2]);
});
