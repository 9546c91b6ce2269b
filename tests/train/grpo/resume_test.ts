import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { StepAborted } from "../../../src/train/loop/training_method.ts";
import { tinyConfig, tinyRun } from "./tiny_grpo.ts";

const AWAY = /^time\//;
const lasting = (metrics: Readonly<Record<string, number>> = {}) =>
  Object.fromEntries(Object.entries(metrics).filter(([name]) => !AWAY.test(name)));

for (
  const [what, overrides, at] of [
    ["between two uses of one round", ["grpo.num_iterations=2"], 1],
    ["between two uses of one round, in fp16", ["grpo.num_iterations=2", "training.fp16=true"], 1],
    [
      "between two uses of a round of RLOO",
      ["grpo.num_iterations=2", "grpo.loss_type=rloo", "grpo.beta=0.1"],
      1,
    ],
    [
      "between two uses of a round of REINFORCE++",
      ["grpo.num_iterations=2", "grpo.loss_type=reinforce_plus_plus", "grpo.beta=0.1"],
      1,
    ],
    ["in the middle of a round that feeds several steps", ["grpo.steps_per_generation=3"], 2],
    [
      "in the middle of a round that a step shares with the next one",
      [
        "training.per_device_train_batch_size=2",
        "training.gradient_accumulation_steps=2",
        "grpo.steps_per_generation=3",
        "grpo.num_iterations=2",
        "grpo.beta=0.1",
        "grpo.disable_dropout=false",
      ],
      2,
    ],
  ] as const
) {
  Deno.test(`a run goes on ${what}, to the bit`, async () => {
    const config = tinyConfig([...overrides]);
    using straight = await tinyRun(config);
    for (let step = 0; step < at; step++) await straight.update(step);
    const state = JSON.parse(JSON.stringify(straight.method.state()));
    assert(state.buffer !== null, "some of the round is left");
    const weights = await straight.weights();
    const moments = await straight.optimizer.state();

    using resumed = await tinyRun(config);
    for (const [name, parameter] of resumed.optimizer.parameters) {
      tf.tidy(() => parameter.assign(tf.tensor(weights.get(name)!, parameter.shape)));
    }
    resumed.optimizer.restore(moments);
    resumed.method.restore(state);

    for (let step = at; step < at + 3; step++) {
      const expected = await straight.update(step);
      const got = await resumed.update(step);
      assertEquals(lasting(got.metrics), lasting(expected.metrics), `step ${step}`);
      assertEquals(got.epoch, expected.epoch);
    }
    assertEquals(await resumed.weights(), await straight.weights());
    assertEquals(resumed.completions, straight.completions.slice(-resumed.completions.length));
  });
}

Deno.test("a run that goes on with another batch size drops the rest of the round, and samples anew", async () => {
  const config = tinyConfig(["grpo.steps_per_generation=3"]);
  using straight = await tinyRun(config);
  for (let step = 0; step < 2; step++) await straight.update(step);
  const state = JSON.parse(JSON.stringify(straight.method.state()));
  assert(state.buffer !== null, "some of the round is left");
  using other = await tinyRun(tinyConfig(["training.per_device_train_batch_size=2"]));
  other.method.restore(state, false);
  assertEquals(other.method.state(), { ...state, buffer: null });
  await other.update(2);
  assert(other.completions.length > 0, "a new round was sampled");
});

Deno.test("an aborted step leaves everything as it was", async () => {
  const config = tinyConfig(["grpo.num_iterations=2"]);
  using straight = await tinyRun(config);
  using stopped = await tinyRun(config);
  const before = JSON.stringify(stopped.method.state());
  const controller = new AbortController();
  controller.abort();
  const error = await stopped.method.step({
    accumulator: new GradientAccumulator(),
    parameters: stopped.optimizer.parameters,
    step: 0,
    signal: controller.signal,
  }).catch((error) => error);
  assert(error instanceof StepAborted);
  assertEquals(JSON.stringify(stopped.method.state()), before);
  await straight.update(0);
  await stopped.update(0);
  assertEquals(await stopped.weights(), await straight.weights());
});
