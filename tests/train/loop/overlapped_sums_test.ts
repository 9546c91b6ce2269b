import * as tf from "@tensorflow/tfjs";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { backwardOrder } from "../../../src/train/loop/ranks/gradient_buckets.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { OverlappedSums } from "../../../src/train/loop/ranks/overlapped_sums.ts";
import { reduceGradients } from "../../../src/train/loop/ranks/reduce_gradients.ts";
import { localRanks } from "../../distributed/local_ranks.ts";
import { tinyModel } from "../../generate/tiny_model.ts";

Deno.test("backwardOrder() begins at the output of a model and ends at its pictures", () => {
  const names = [
    "MP.proj.weight",
    "vision_encoder.patch_embedding.conv.weight",
    "vision_encoder.blocks.0.ln1.weight",
    "vision_encoder.blocks.10.ln1.weight",
    "vision_encoder.layer_norm.bias",
    "decoder.blocks.2.norm1.weight",
    "decoder.blocks.11.attn.q_proj.weight",
    "decoder.norm.weight",
    "decoder.head.weight",
  ];
  assertEquals(backwardOrder(names), [
    "decoder.norm.weight",
    "decoder.blocks.11.attn.q_proj.weight",
    "decoder.blocks.2.norm1.weight",
    "decoder.head.weight",
    "MP.proj.weight",
    "vision_encoder.layer_norm.bias",
    "vision_encoder.blocks.10.ln1.weight",
    "vision_encoder.blocks.0.ln1.weight",
    "vision_encoder.patch_embedding.conv.weight",
  ]);
});

/** Three layers behind each other; the last weight has its gradient first. */
function layers() {
  const parameters = new Map(["blocks.0.a", "blocks.1.b", "blocks.2.c"].map((name, i) => [
    `decoder.${name}`,
    tf.variable(tf.fill([2, 2], 0.5 + i)),
  ]));
  const weights = [...parameters.values()];
  const loss = (start: number) => () => {
    let x: tf.Tensor = tf.fill([1, 2], start);
    for (const weight of weights) x = tf.matMul(x, weight);
    return x.sum() as tf.Scalar;
  };
  return { parameters, loss };
}

Deno.test("a bucket is sent while the backward pass still computes the next ones", async () => {
  await initBackend({ backend: "wasm" });
  const { parameters, loss } = layers();
  const before = tf.memory().numTensors;
  const events: string[] = [];
  const overlapped = new OverlappedSums(parameters, {
    sum: (_, what) => {
      events.push(what);
      return Promise.resolve();
    },
    secondsInCalls: () => 0,
  }, 4);
  const accumulator = new GradientAccumulator();
  accumulator.receiver = {
    receive(name, gradient) {
      events.push(`ready ${name}`);
      return overlapped.receive(name, gradient);
    },
    forget: () => overlapped.forget(),
  };
  accumulator.expect(2);
  (await accumulator.addLoss(loss(1), parameters)).dispose();
  assertEquals(events, []);
  (await accumulator.addLoss(loss(2), parameters)).dispose();
  assertEquals(events, [
    "ready decoder.blocks.2.c",
    "the gradients of decoder.blocks.2.c",
    "ready decoder.blocks.1.b",
    "the gradients of decoder.blocks.1.b",
    "ready decoder.blocks.0.a",
    "the gradients of decoder.blocks.0.a",
  ]);
  for (const [name, gradient] of accumulator.gradients) {
    assertEquals(Array.from(overlapped.sumOf(name)), Array.from(await gradient.data()));
  }
  await assertRejects(
    () => accumulator.addLoss(loss(3), parameters),
    Error,
    "are on their way to other ranks",
  );
  accumulator.reset();
  // Of a step that says nothing of its length, nothing is sent.
  (await accumulator.addLoss(loss(1), parameters)).dispose();
  assertEquals(events.length, 6);
  accumulator.reset();
  assertEquals(tf.memory().numTensors, before);
  tf.dispose([...parameters.values()]);
});

Deno.test("overlapped sums are those after the pass, also if a rank has no gradient", async () => {
  await initBackend({ backend: "wasm" });
  const results: Record<string, number[]>[][] = [];
  for (const overlap of [false, true]) {
    const made = await Promise.all(
      localRanks(2).map(async (ranks) => {
        const { parameters, loss } = layers();
        const unused = tf.variable(tf.ones([3])), onOne = tf.variable(tf.ones([2]));
        parameters.set("decoder.unused", unused as tf.Variable<tf.Rank>);
        parameters.set("MP.on_one", onOne as tf.Variable<tf.Rank>);
        const accumulator = new GradientAccumulator();
        let last = Promise.resolve();
        const overlapped = overlap
          ? new OverlappedSums(parameters, {
            sum: (values, what) => last = last.then(() => ranks.sum(values, what)),
            secondsInCalls: () => 0,
          }, 6)
          : null;
        accumulator.receiver = overlapped;
        const own = loss(1 + ranks.rank);
        accumulator.expect(1);
        const losses = [
          await accumulator.addLoss(
            () => ranks.rank === 0 ? own() : own().add(onOne.square().sum()) as tf.Scalar,
            parameters,
          ),
        ];
        const reduced = await reduceGradients(
          { ranks, compression: "none", overlapped },
          accumulator,
          parameters,
          { losses, tokens: 1, padding: 0, ownSeconds: 1 },
        );
        assert(reduced.reduceSeconds >= 0);
        assert(!accumulator.gradients.has("decoder.unused"));
        const found: Record<string, number[]> = {};
        for (const [name, gradient] of accumulator.gradients) {
          found[name] = Array.from(await gradient.data());
        }
        assertEquals(found["MP.on_one"], [2, 2]);
        accumulator.reset();
        tf.dispose([...losses, ...parameters.values()]);
        return found;
      }),
    );
    assertEquals(made[1], made[0]);
    results.push(made);
  }
  assertEquals(results[1], results[0]);
});

Deno.test("gradients of a model that are received have the bits of a pass at once", async () => {
  await initBackend({ backend: "wasm" });
  const model = tinyModel();
  const inputs = { inputIds: [[5, 6, 7, 8]], labels: [[6, 7, 8, -100]] };
  const loss = () => model.forward(inputs).loss!;
  const before = tf.memory().numTensors;
  const runs: Map<string, number[]>[] = [];
  for (const isReceived of [false, true]) {
    const accumulator = new GradientAccumulator();
    const received = new Set<string>();
    accumulator.receiver = { receive: (name) => void received.add(name), forget: () => {} };
    if (isReceived) accumulator.expect(1);
    (await accumulator.addLoss(loss, model.weights)).dispose();
    const found = new Map<string, number[]>();
    for (const [name, gradient] of accumulator.gradients) {
      found.set(name, Array.from(await gradient.data()));
    }
    assertEquals(received.size, isReceived ? found.size : 0);
    runs.push(found);
    accumulator.reset();
  }
  assert(runs[0].size > 10);
  assertEquals(runs[1], runs[0]);
  assertEquals(tf.memory().numTensors, before);
  model.dispose();
});
