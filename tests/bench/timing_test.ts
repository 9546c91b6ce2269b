import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
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
    // In a process of its own: the clock counts all threads, those of other test files too.
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", new URL("./clock_child.ts", import.meta.url).pathname],
      stdin: "null",
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const [computed, waited] = JSON.parse(new TextDecoder().decode(stdout));
    assert(computed > 0);
    assert(waited < 0.3, `waiting counts as computing: ${waited} s`);
  },
});
