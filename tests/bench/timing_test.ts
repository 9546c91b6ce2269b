import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { clockNamed } from "../../src/bench/clock.ts";
import { timed } from "../../src/bench/timing.ts";
import { initBackend } from "../../src/device/backend.ts";

Deno.test("timed() warms up once, then takes the middle of its samples", async () => {
  await initBackend({ backend: "wasm" });
  const before = tf.memory().numTensors;
  let runs = 0, now = 0;
  const lengths = [100, 3, 1, 2];
  const timing = await timed(() => {
    now += lengths[runs++];
    return tf.scalar(0);
  }, { reps: 3, clock: () => now });
  assertEquals(timing, { median: 2, fastest: 1 });
  assertEquals(runs, 4);
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("timed() repeats what is short until a sample is long enough", async () => {
  await initBackend({ backend: "wasm" });
  let runs = 0, now = 0;
  const timing = await timed(() => {
    runs++;
    now += 0.25;
    return tf.scalar(0);
  }, { reps: 2, clock: () => now, sampleSeconds: 1 });
  assertEquals(timing.median, 0.25);
  assertEquals(runs, 1 + 1 + 2 * 4);
});

Deno.test({
  name: "the processor's clock runs while we compute, and not while we wait",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const clock = clockNamed("cpu");
    const start = clock();
    let sum = 0;
    for (let i = 0; i < 3e7; i++) sum += Math.sqrt(i);
    const computed = clock();
    assert(sum > 0 && computed > start);
    await new Promise((done) => setTimeout(done, 300));
    assert(clock() - computed < 0.3, "waiting counts as computing");
  },
});
