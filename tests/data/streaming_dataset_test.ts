import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { DataError } from "../../src/data/data_error.ts";
import type { VqaExample } from "../../src/data/rows/formats.ts";
import { loadDataset } from "../../src/data/load_dataset.ts";
import type { StreamingDataset } from "../../src/data/streaming_dataset.ts";
import { collectGarbage } from "../../src/device/collect_garbage.ts";

async function withStream(
  lines: Iterable<string>,
  run: (stream: StreamingDataset<VqaExample>) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    await Deno.writeTextFile(path, ReadableStream.from(lines));
    await run(await loadDataset({ path, format: "vqa", streaming: true }));
  } finally {
    await Deno.remove(path);
  }
}

function* lines(count: number, pad = 0): Generator<string> {
  for (let i = 0; i < count; i++) {
    const texts = [{ user: `q${i}`, assistant: "a" }];
    yield JSON.stringify({ texts, i, pad: "x".repeat(pad) }) + "\n";
  }
}

const numbers = (examples: AsyncIterable<VqaExample>) =>
  Array.fromAsync(examples, (example) => example.columns.i as number);

Deno.test("a stream gives every example once, shuffled by seed and epoch", () =>
  withStream(lines(500), async (stream) => {
    const inOrder = await numbers(stream);
    assertEquals(inOrder, Array.from({ length: 500 }, (_, i) => i));
    const first = await numbers(stream.iterate({ shuffleSeed: 1, bufferExamples: 100 }));
    assertNotEquals(first, inOrder);
    assertEquals(first.toSorted((a, b) => a - b), inOrder);
    assertEquals(await numbers(stream.iterate({ shuffleSeed: 1, bufferExamples: 100 })), first);
    const second = await numbers(
      stream.iterate({ shuffleSeed: 1, bufferExamples: 100, epoch: 1 }),
    );
    assertNotEquals(second, first);
  }));

Deno.test("skip goes on exactly where a pass stopped", () =>
  withStream(lines(300), async (stream) => {
    const options = { shuffleSeed: 7, bufferExamples: 50 };
    const whole = await numbers(stream.iterate(options));
    assertEquals(await numbers(stream.iterate({ ...options, skip: 123 })), whole.slice(123));
  }));

Deno.test("split() of a stream gives parts that share no row and make up the whole", () =>
  withStream(lines(1000), async (stream) => {
    const { train, test } = stream.split(0.2, 42);
    const [inTrain, inTest] = [await numbers(train), await numbers(test)];
    assertEquals([...inTrain, ...inTest].sort((a, b) => a - b), await numbers(stream));
    assert(inTest.length > 150 && inTest.length < 250, `${inTest.length}`);
    assertEquals(await numbers(stream.split(0.2, 42).test), inTest);
  }));

Deno.test("a stream over 96 MB of lines keeps its memory", async () => {
  collectGarbage();
  const before = Deno.memoryUsage().external + Deno.memoryUsage().heapUsed;
  await withStream(lines(24_000, 4000), async (stream) => {
    let most = 0;
    let seen = 0;
    for await (const example of stream) {
      assertEquals(example.columns.i, seen);
      if (++seen % 3000 === 0) {
        collectGarbage();
        const { heapUsed, external } = Deno.memoryUsage();
        most = Math.max(most, heapUsed + external - before);
      }
    }
    assertEquals(seen, 24_000);
    assert(most < 32 * 2 ** 20, `${most} bytes held`);
  });
});

Deno.test("rows of a stream that cannot be used are counted; over 10 % stops it", async () => {
  const some = (bad: (i: number) => boolean) =>
    Array.from(lines(400), (line, i) => bad(i) ? '{"texts":[],"i":0}\n' : line);
  await withStream(some((i) => i % 20 === 0), async (stream) => {
    assertEquals((await numbers(stream)).length, 380);
    assertEquals(stream.skipped.count, 20);
    assertEquals(stream.skipped.rows[1].place.split(" ").slice(1).join(" "), "line 21");
  });
  await withStream(some((i) => i > 200 && i % 2 === 0), async (stream) => {
    await assertRejects(() => numbers(stream), DataError, "more than 10 %");
  });
});
