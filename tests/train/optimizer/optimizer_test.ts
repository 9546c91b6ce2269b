import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import {
  ADAMW_DEFAULTS,
  NonFiniteError,
  Optimizer,
} from "../../../src/train/optimizer/optimizer.ts";

await initBackend({ backend: "wasm" });

const variable = (values: number[]) => tf.tidy(() => tf.variable(tf.tensor1d(values), false));
const group = (name: string, learningRate: number, weightDecay: number, values: number[]) => ({
  name,
  learningRate,
  weightDecay,
  parameters: new Map([[name, variable(values)]]),
});
const read = async (tensor: tf.Tensor) => [...(await readBack([tensor]))[0]];

/** AdamW in doubles (Loshchilov and Hutter, 2019, algorithm 2). */
function adamw(w: number, gradients: number[], rate: number, decay: number): number {
  let m = 0, v = 0;
  gradients.forEach((g, i) => {
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const mean = m / (1 - 0.9 ** (i + 1)), square = v / (1 - 0.999 ** (i + 1));
    w -= rate * decay * w + rate * mean / (Math.sqrt(square) + 1e-8);
  });
  return w;
}

Deno.test("AdamW's update, with decoupled decay, each group at its own rate", async () => {
  const groups = [group("a", 0.1, 0.01, [1, -2]), group("b", 0.01, 0, [3])];
  const optimizer = new Optimizer(groups, { ...ADAMW_DEFAULTS, maxGradNorm: 0 });
  const steps = [[0.5, -1, 2], [0.25, 3, -1], [-4, 0.1, 0]];
  for (const [a, b, c] of steps) {
    const gradients = new Map<string, tf.Tensor>([["a", tf.tensor1d([a, b])], [
      "b",
      tf.scalar(c).reshape([1]),
    ]]);
    optimizer.step(gradients, 1, [1, 0.5]);
    tf.dispose([...gradients.values()]);
  }
  const column = (i: number) => steps.map((step) => step[i]);
  const [a0, a1] = await read(groups[0].parameters.get("a")!);
  const [b0] = await read(groups[1].parameters.get("b")!);
  assertAlmostEquals(a0, adamw(1, column(0), 0.1, 0.01), 1e-5);
  assertAlmostEquals(a1, adamw(-2, column(1), 0.1, 0.01), 1e-5);
  assertAlmostEquals(b0, adamw(3, column(2), 0.005, 0), 1e-5);
  optimizer.dispose();
});

Deno.test("gradients are clipped by the norm of all of them together", async () => {
  const at = async (scale: number, maxGradNorm: number) => {
    const groups = [group("a", 0.1, 0, [1]), group("b", 0.1, 0, [1])];
    const optimizer = new Optimizer(groups, { ...ADAMW_DEFAULTS, maxGradNorm, eps: 1 });
    const gradients = new Map<string, tf.Tensor>([
      ["a", tf.tensor1d([3 * scale])],
      ["b", tf.tensor1d([4 * scale])],
    ]);
    const { gradNorm } = await optimizer.measure(gradients, []);
    optimizer.step(gradients, gradNorm, 1);
    const values = await Promise.all(
      groups.map(({ name, parameters }) => read(parameters.get(name)!)),
    );
    optimizer.dispose();
    return { gradNorm, values: values.flat() };
  };
  const clipped = await at(10, 1), small = await at(0.2 / (1 + 1e-6 / 50), 1);
  assertAlmostEquals(clipped.gradNorm, 50, 1e-4);
  clipped.values.forEach((value, i) => assertAlmostEquals(value, small.values[i], 1e-6));
  assert(Math.abs((await at(10, 0)).values[0] - clipped.values[0]) > 1e-3, "0 clips nothing");
});

Deno.test("a parameter without a gradient stays as it is, its moments too", async () => {
  const groups = [group("a", 0.1, 0.5, [1]), group("b", 0.1, 0.5, [1])];
  const optimizer = new Optimizer(groups, ADAMW_DEFAULTS);
  optimizer.step(new Map([["a", tf.tensor1d([1])]]), 1, 1);
  assertEquals(await read(groups[1].parameters.get("b")!), [1]);
  const state = await optimizer.state();
  assertEquals(state.steps, { a: 1, b: 0 });
  assertEquals([...state.arrays.get("exp_avg_sq.b")!.data], [0]);
  optimizer.dispose();
});

Deno.test("measure() names the first gradient that is not finite, or the loss", async () => {
  const optimizer = new Optimizer([group("a", 0.1, 0, [1])], ADAMW_DEFAULTS);
  const fails = async (a: number[], b: number[], loss: number) => {
    const gradients = new Map([["a", tf.tensor1d(a)], ["b", tf.tensor1d(b)]]);
    const error = await assertRejects(
      () => optimizer.measure(gradients, [tf.scalar(loss)]),
      NonFiniteError,
    );
    return [error.tensor, error.message];
  };
  assertEquals(await fails([1, 2], [3, Infinity], 1), [
    "b",
    "the gradient of b is Infinity at element 1",
  ]);
  assertEquals(await fails([1, NaN], [NaN, 1], NaN), [
    "a",
    "the loss is NaN, and the gradient of a is NaN at element 1",
  ]);
  assertEquals(await fails([1, 2], [3, 4], -Infinity), ["loss", "the loss is -Infinity"]);
  optimizer.dispose();
});

Deno.test("an optimizer goes on from its state, and refuses another's", async () => {
  const run = async (resumeAfter: number | null) => {
    let groups = [group("a", 0.1, 0.01, [1, 2, 3])];
    let optimizer = new Optimizer(groups, ADAMW_DEFAULTS);
    for (let step = 0; step < 6; step++) {
      if (step === resumeAfter) {
        const state = await optimizer.state();
        const values = await read(groups[0].parameters.get("a")!);
        optimizer.dispose();
        groups = [group("a", 0.1, 0.01, values)];
        optimizer = new Optimizer(groups, ADAMW_DEFAULTS);
        optimizer.restore(state);
      }
      optimizer.step(new Map([["a", tf.tensor1d([Math.sin(step), 1, -step])]]), 0.5, 1);
    }
    const values = await read(groups[0].parameters.get("a")!);
    const state = await optimizer.state();
    optimizer.dispose();
    return { values, state };
  };
  const whole = await run(null);
  assertEquals((await run(3)).values, whole.values);
  const other = new Optimizer([group("a", 0.1, 0, [1, 2])], ADAMW_DEFAULTS);
  assertThrows(() => other.restore(whole.state), Error, "has 3 values for exp_avg of a, want 2");
  const another = new Optimizer([group("z", 0.1, 0, [1, 2])], ADAMW_DEFAULTS);
  assertThrows(() => another.restore(whole.state), Error, "has no values for exp_avg of z");
  other.dispose();
  another.dispose();
});

Deno.test("a parameter belongs to one group", () => {
  const groups = [group("a", 0.1, 0, [1]), group("a", 0.2, 0, [1])];
  assertThrows(() => new Optimizer(groups, ADAMW_DEFAULTS), Error, "Cannot train a in two groups");
});
