import * as tf from "@tensorflow/tfjs";
import { assert, assertEquals } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { reduceGradients } from "../../../src/train/loop/ranks/reduce_gradients.ts";
import { localRanks } from "../../distributed/local_ranks.ts";

Deno.test("reduceGradients() sums over ranks, and a gradient of one rank is one of all", async () => {
  await initBackend({ backend: "wasm" });
  const parameters = new Map([
    ["small", tf.variable(tf.zeros([3]))],
    ["large", tf.variable(tf.zeros([5_000_000]))], // alone in its call, in place
    ["on one rank", tf.variable(tf.zeros([2, 2]))],
    ["on none", tf.variable(tf.zeros([4]))],
  ]);
  const before = tf.memory().numTensors;
  const results = await Promise.all(
    localRanks(2).map(async (ranks) => {
      const accumulator = new GradientAccumulator();
      accumulator.set("small", tf.tensor1d([1, 2, 3].map((value) => value + 10 * ranks.rank)));
      accumulator.set("large", tf.fill([5_000_000], ranks.rank + 0.5));
      if (ranks.rank === 1) accumulator.set("on one rank", tf.tensor2d([[1, 2], [3, 4]]));
      const losses = [tf.scalar(ranks.rank + 1), tf.scalar(0.25)];
      const reduced = await reduceGradients(
        { ranks, compression: "none" },
        accumulator,
        parameters,
        {
          losses,
          tokens: 10 + ranks.rank,
          padding: 1,
          ownSeconds: 1 + 2 * ranks.rank,
        },
      );
      tf.dispose(losses);
      return { reduced, accumulator };
    }),
  );
  for (const { reduced, accumulator } of results) {
    const { loss, tokens, padding, slowestRank, waitSeconds } = reduced;
    assertEquals({ loss, tokens, padding, slowestRank, waitSeconds }, {
      loss: 3.5,
      tokens: 21,
      padding: 2,
      slowestRank: 1,
      waitSeconds: 1,
    });
    const { gradients } = accumulator;
    assertEquals([...gradients.keys()].sort(), ["large", "on one rank", "small"]);
    assertEquals(Array.from(gradients.get("small")!.dataSync()), [12, 14, 16]);
    assertEquals(Array.from(gradients.get("on one rank")!.dataSync()), [1, 2, 3, 4]);
    const large = gradients.get("large")!.dataSync();
    assert(large.every((value) => value === 2));
    accumulator.reset();
  }
  assertEquals(tf.memory().numTensors, before);
  tf.dispose([...parameters.values()]);
});

Deno.test("reduceGradients() rounds to bfloat16 if it is asked to", async () => {
  await initBackend({ backend: "wasm" });
  const parameters = new Map([["a", tf.variable(tf.zeros([3]))]]);
  const sums = await Promise.all(
    localRanks(2).map(async (ranks) => {
      const accumulator = new GradientAccumulator();
      accumulator.set("a", tf.tensor1d([1, 1.001, 1.012].map((value) => value + ranks.rank)));
      const exchange = { ranks, compression: "bf16" as const };
      const step = { losses: [], tokens: 1, padding: 0, ownSeconds: 1 };
      await reduceGradients(exchange, accumulator, parameters, step);
      const values = Array.from(accumulator.gradients.get("a")!.dataSync());
      accumulator.reset();
      return values;
    }),
  );
  // bfloat16 has steps of 2^-7 from 1 on, and of 2^-6 from 2 on.
  assertEquals(sums, [[3, 3, 3 + 2 ** -5], [3, 3, 3 + 2 ** -5]]);
  tf.dispose([...parameters.values()]);
});
