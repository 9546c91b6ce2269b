/** AdamW and the gradient norm on WebGPU: many parameters in a launch, whatever an adapter binds. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import {
  adamw,
  adamwComposite,
  type AdamWSlot,
  type AdamWUpdate,
  gradientNorm,
  gradientNormComposite,
} from "../../../src/ops/optimizer.ts";
import { currentLaunch } from "../../../src/ops/webgpu/runtime/launch.ts";
import { assertClose } from "../assert_close.ts";
import { randomTensor } from "../random_tensor.ts";
import { kernelTest } from "./webgpu_op.ts";

/** Sizes on both sides of a workgroup's and a row's, of both lane widths, in no order. */
const SIZES = [7, 256, 1, 4, 1027, 64, 1028, 8196, 3, 9000, 2049, 12, 255, 5, 260];

/** What WebGPU promises, and what this adapter has; a launch then takes 2 and 8 updates. */
const BUFFERS = [8, undefined];

/** Parameters of {@link SIZES} with moments, the same for the same seed. */
function slots(): AdamWSlot[] {
  return SIZES.map((size, i) =>
    tf.tidy(() => {
      const make = (seed: number, scale: number, shift = 0) =>
        tf.variable(randomTensor([size], 10 * i + seed, scale, shift), false);
      return {
        parameter: make(1, 1),
        firstMoment: make(2, 1e-3),
        secondMoment: make(3, 1e-4, 2e-4),
      };
    })
  );
}

/** Updates whose rate, decay and number of steps differ from parameter to parameter. */
function updates(of: readonly AdamWSlot[], gradients: tf.Tensor[], step: number): AdamWUpdate[] {
  return of.map((slot, i) => ({
    ...slot,
    gradient: gradients[i],
    numbers: {
      ...{ learningRate: 1e-2 * (1 + i % 3), weightDecay: 0.1 * (i % 2), eps: 1e-8 },
      ...{ beta1: 0.9, beta2: 0.999, step: step + i % 4, gradientScale: 0.5 },
    },
  }));
}

const tensorsOf = (of: readonly AdamWSlot[]): tf.Variable[] =>
  of.flatMap(({ parameter, firstMoment, secondMoment }) =>
    [parameter, firstMoment, secondMoment] as tf.Variable[]
  );

/** Dispatches of kernels whose names begin so, in what `run` does, and the bytes that they move. */
function countOf(kernel: string, run: () => void): { dispatches: number; bytes: number } {
  const launch = currentLaunch();
  launch.startCounting();
  run();
  const found = launch.stopCounting().filter((one) => one.kernel.startsWith(kernel));
  return { dispatches: found.length, bytes: found.reduce((sum, { bytes }) => sum + bytes, 0) };
}

for (const buffers of BUFFERS) {
  kernelTest("AdamW over many parameters equals the composite, step by step", async () => {
    const [ours, oracle] = [slots(), slots()];
    for (let step = 1; step <= 3; step++) {
      const gradients = SIZES.map((size, i) => randomTensor([size], 100 * step + i));
      adamw(updates(ours, gradients, step));
      for (const update of updates(oracle, gradients, step)) adamwComposite(update);
      const read = await readBack([...tensorsOf(ours), ...tensorsOf(oracle)]);
      const half = read.length / 2;
      for (let i = 0; i < half; i++) {
        assertClose(read[i], read[half + i], 1e-6, `step ${step}, tensor ${i}`);
      }
      tf.dispose(gradients);
    }
    tf.dispose([...tensorsOf(ours), ...tensorsOf(oracle)]);
  }, buffers);

  kernelTest("the norm of many gradients equals the composite", async (k) => {
    for (const sizes of [SIZES, [3], [64 * 30], [1_000_003, 5]]) {
      const gradients = sizes.map((size, i) => randomTensor([size], i));
      const results = tf.tidy(() => [k.gradientNorm(gradients), gradientNormComposite(gradients)]);
      const [got, want] = await readBack(results);
      assertClose(got, want, 2e-6, `norm of ${sizes}`);
      tf.dispose([...results, ...gradients]);
    }
  }, buffers);

  kernelTest("a launch takes as many parameters as buffers can be bound for", async () => {
    const launch = currentLaunch();
    const [ours, sizes] = [slots(), SIZES.map((size) => size % 4 === 0 ? 4 : 1)];
    const gradients = SIZES.map((size, i) => randomTensor([size], i));
    const launches = (perLaunch: number): number =>
      [1, 4].map((width) => Math.ceil(sizes.filter((one) => one === width).length / perLaunch))
        .reduce((a, b) => a + b);
    const bound = launch.bindableBuffers;
    assert(bound >= 8 && (buffers === undefined || bound === buffers));
    const perUpdate = launch.isFallback ? 1 : Math.floor(bound / 4);
    const all = SIZES.reduce((sum, size) => sum + size, 0);
    assertEquals(countOf("adamw", () => adamw(updates(ours, gradients, 1))), {
      dispatches: launches(perUpdate),
      bytes: 4 * 7 * all, // four read, three written
    });
    const norm = countOf("sums of squares", () => tf.tidy(() => void gradientNorm(gradients)));
    assertEquals(norm.dispatches, launches(bound - 1));
    assert(norm.bytes >= 4 * all && norm.bytes < 4.1 * all, `${norm.bytes} bytes`);
    await readBack([ours[0].parameter]);
    tf.dispose([...tensorsOf(ours), ...gradients]);
  }, buffers);
}

kernelTest("AdamW leaves to the composite what another tensor shares", async (k) => {
  const shared = randomTensor([4], 1);
  const own = randomTensor([4], 2);
  const [parameter, other] = [shared, own].map((x) => tf.variable(x, false));
  own.dispose();
  const make = () => tf.tidy(() => tf.variable(tf.zeros([4]), false));
  const numbers = {
    ...{ learningRate: 1, weightDecay: 0, beta1: 0.9, beta2: 0.999 },
    ...{ eps: 1e-8, step: 1, gradientScale: 1 },
  };
  const gradient = tf.ones([4]);
  const both = [parameter, other].map((parameter) => ({
    ...{ parameter, gradient, firstMoment: make(), secondMoment: make(), numbers },
  }));
  const [before] = await readBack([other]);
  assertEquals(k.adamW(both), [both[0]]);
  const [unchanged, kept, moved] = await readBack([parameter, shared, other]);
  assertEquals(unchanged, kept);
  assertClose(moved, before.map((value) => value - 1), 1e-6, "the other parameter");
  tf.dispose([shared, gradient, parameter, other]);
  tf.dispose(both.flatMap(({ firstMoment, secondMoment }) => [firstMoment, secondMoment]));
});
