import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { OutOfMemoryError } from "../../../src/device/out_of_memory.ts";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import { BatchFitter } from "../../../src/train/loop/batch_fitter.ts";
import { StepFailedError } from "../../../src/train/loop/step_failure.ts";
import type { TrainingMethod } from "../../../src/train/loop/training_method.ts";
import { localRanks } from "../../distributed/local_ranks.ts";
import { largestDifference } from "../largest_difference.ts";
import { LORA, shapeRows, tinyConfig, type TinyOptions, tinySFT } from "../sft/tiny_sft.ts";

/**
 * Runs `run` on a wasm heap of which `limit()` bytes may be in use.
 *
 * @returns the most bytes in use, and the result
 */
async function withHeapOf<T>(
  limit: () => number,
  run: () => Promise<T>,
): Promise<{ peak: number; result: T }> {
  const heap = wasmHeap()!;
  const { wasm } = heap.backend;
  const malloc = wasm._malloc;
  let peak = 0;
  wasm._malloc = (bytes) => {
    const used = heap.usedBytes();
    if (used + bytes > limit()) throw new OutOfMemoryError("the wasm heap", bytes, used, limit());
    peak = Math.max(peak, used + bytes);
    return malloc(bytes);
  };
  try {
    return { result: await run(), peak };
  } finally {
    wasm._malloc = malloc;
  }
}

/** What a run was, and what it told. */
interface Ended {
  readonly weights: Map<string, Float32Array>;
  readonly losses: number[];
  readonly warnings: string[];
  readonly rows: unknown;
  /** The most bytes in use before its first update ended. */
  readonly firstPeak: number;
}

const ROWS = shapeRows(8);

/** Trains with 8 rows a step, of which `size` at once, on a heap of `limit` bytes beyond its weights. */
async function trained(
  size: number,
  {
    limit = Infinity,
    from = 0,
    to = Infinity,
    resume,
    ...options
  }: TinyOptions & {
    limit?: number;
    /** Steps between which the limit holds. */
    from?: number;
    to?: number;
    resume?: string;
  },
  settings: readonly string[] = [],
): Promise<Ended> {
  let step = 0, firstPeak = 0;
  await using run = await tinySFT([
    ...LORA,
    "training.auto_find_batch_size=true",
    `training.per_device_train_batch_size=${size}`,
    `training.gradient_accumulation_steps=${8 / size}`,
    "training.max_steps=6",
    "training.logging_steps=1",
    "training.save_strategy=steps",
    "training.save_steps=2",
    "training.image_feature_cache_mb=0",
    "training.share_prefix=false",
    ...settings,
  ], {
    ...options,
    rows: ROWS,
    callbacks: [{
      onStepEnd: (state) => {
        step = state.step;
      },
    }],
  });
  const warnings: string[] = [];
  const { reporter } = run.options;
  const warn = reporter.onWarning.bind(reporter);
  reporter.onWarning = (text) => {
    warnings.push(text);
    warn(text);
  };
  if (resume !== undefined) await run.trainer.resume(resume);
  const base = wasmHeap()!.usedBytes();
  await withHeapOf(() => {
    if (step === 0) firstPeak = Math.max(firstPeak, wasmHeap()!.usedBytes() - base);
    return step >= from && step < to ? base + limit : Infinity;
  }, () => run.trainer.train());
  return {
    weights: await run.weights(),
    losses: run.metrics().filter(({ loss }) => loss !== undefined).map(({ loss }) => loss),
    warnings,
    rows: run.method.state().microBatchSize,
    firstPeak,
  };
}

/** A limit between what 8 and 4 rows take. */
async function limitOf(): Promise<number> {
  await trained(8, {}); // Scratch of the kernels is allocated once, and stays.
  const [eight, four] = [await trained(8, {}), await trained(4, {})];
  assert(four.firstPeak < eight.firstPeak * 0.8, `${four.firstPeak} and ${eight.firstPeak}`);
  return (eight.firstPeak + four.firstPeak) / 2;
}

Deno.test("a run whose micro-batch does not fit has the bytes of one with half of its rows", async () => {
  const limit = await limitOf();
  const four = await trained(4, { limit });
  assertEquals(four.warnings, [], "four rows fit");
  const found = await trained(8, { limit });
  assertEquals(found.rows, 4);
  assertEquals(found.losses, four.losses);
  assertEquals(found.warnings.length, 1, found.warnings.join("\n"));
  const [text] = found.warnings;
  assert(/memory ran out in step 1 at a micro-batch of 8 rows with \d+ tokens/.test(text), text);
  assert(text.includes("per_device_train_batch_size=4"), text);
  assert(text.includes("gradient_accumulation_steps=2"), text);
  assertEquals(largestDifference(found.weights, four.weights), 0);
});

Deno.test("memory that runs out later loses no step, and a resumed run keeps the size", async () => {
  const limit = await limitOf();
  const whole = await trained(8, {});
  const folder = await Deno.makeTempDir({ prefix: "fit " });
  try {
    const later = await trained(8, { limit, from: 3, to: 4, folder });
    assertEquals([later.rows, later.warnings.length], [4, 1]);
    assert(later.warnings[0].includes("in step 4 "), later.warnings[0]);
    // Dropout of the repeated steps is that of other micro-batches; the steps before are the same.
    assertEquals(later.losses.slice(0, 3), whole.losses.slice(0, 3));
    assertEquals(later.losses.length, 6);
    const resumed = await trained(8, { folder, resume: `${folder}/checkpoint-4` });
    assertEquals([resumed.rows, resumed.warnings], [4, []]);
    assertEquals(largestDifference(resumed.weights, later.weights), 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("without dropout the loss and the epochs are those of the whole batch, a last one left out", async () => {
  const limit = await limitOf();
  const settings = [
    "model.lora_config.lora_dropout=0",
    "training.dataloader_drop_last=true",
    "training.max_steps=-1",
    "training.num_train_epochs=2",
  ];
  const whole = await trained(8, {}, settings);
  const found = await trained(8, { limit }, settings);
  assertEquals([found.rows, whole.rows], [4, undefined]);
  assertEquals(found.losses.length, whole.losses.length);
  found.losses.forEach((loss, i) => assertAlmostEquals(loss, whole.losses[i], 1e-4));
});

Deno.test("a micro-batch of one row that does not fit ends the run, and nothing is left on the heap", async () => {
  const tensors = tf.memory().numTensors;
  const error = await assertRejects(() => trained(8, { limit: 1000 }), StepFailedError);
  assert(error.cause instanceof OutOfMemoryError);
  assert(error.message.includes("A micro-batch of the step has 1 row "), error.message);
  assertEquals(tf.memory().numTensors, tensors);
});

Deno.test("without the key, memory that runs out ends the run", async () => {
  const limit = await limitOf();
  const off = ["training.auto_find_batch_size=false"];
  await assertRejects(() => trained(8, { limit }, off), StepFailedError);
});

Deno.test("if memory runs out on one rank, all ranks have smaller micro-batches and repeat the step", async () => {
  const { training } = tinyConfig(["training.auto_find_batch_size=true"]);
  const seen = await Promise.all(
    localRanks(3).map(async (ranks) => {
      let rows = 8;
      const tried: number[] = [];
      const method = {
        state: () => ({}),
        restore: () => {},
        lastBatchSize: null,
        shrinkMicroBatches: () => ({ before: rows, rows: rows /= 2 }),
        step: async (context: { together: (compute: () => Promise<void>) => Promise<void> }) => {
          await context.together(() => {
            tried.push(rows);
            const short = ranks.rank === 1 ? rows > 4 : ranks.rank === 2 && rows > 2;
            if (short) throw new OutOfMemoryError("a device", 1, 1, 1);
            return Promise.resolve();
          });
          return {};
        },
      } as unknown as TrainingMethod;
      const warnings: string[] = [];
      const fitter = new BatchFitter({
        training,
        method,
        ranks,
        warn: (text) => warnings.push(text),
      });
      await fitter.step({ accumulator: { reset: () => {} }, step: 0 } as never);
      return { tried, warnings: warnings.length };
    }),
  );
  for (const one of seen) assertEquals(one, { tried: [8, 4, 2], warnings: 2 });
});
