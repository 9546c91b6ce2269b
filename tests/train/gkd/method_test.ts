import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { labelledRows } from "../../../src/model/batch.ts";
import { joinRows } from "../../../src/model/branches.ts";
import { answerRows } from "../../../src/train/batches/prompted_answer.ts";
import { answerSource } from "../../../src/train/gkd/answers.ts";
import { GradientAccumulator, lossGradients } from "../../../src/train/loop/gradients.ts";
import { StepAborted } from "../../../src/train/loop/training_method.ts";
import { LORA } from "../dpo/tiny_dpo.ts";
import { largestDifference } from "../largest_difference.ts";
import { shapeRows, tinyConfig, type TinyGKD, tinyGKD } from "./tiny_gkd.ts";

const ONE_BATCH = [
  "training.per_device_train_batch_size=6",
  "training.gradient_accumulation_steps=1",
];

interface Described {
  readonly row: number;
  readonly promptIds: readonly number[];
  readonly answerIds: readonly number[];
}

const lastAnswers = ({ method }: TinyGKD) => (method.describeLastBatch() as Described[][]).flat();

for (
  const [what, settings, source] of [
    ["the data's answers", ["gkd.lmbda=0"], "data"],
    ["the student's answers", ["gkd.lmbda=1"], "student"],
    ["the teacher's answers", ["gkd.lmbda=0", "gkd.seq_kd=true"], "teacher"],
  ] as const
) {
  Deno.test(`GKD on ${what}: three micro-batches give the gradient of one batch`, async () => {
    using parts = await tinyGKD(tinyConfig(settings));
    using whole = await tinyGKD(tinyConfig([...settings, ...ONE_BATCH]));
    for (let step = 0; step < 2; step++) {
      await parts.update(step);
      await whole.update(step);
    }
    const three = await parts.gradients(2), one = await whole.gradients(2);
    assertEquals(
      lastAnswers(parts).map(({ answerIds }) => answerIds),
      lastAnswers(whole).map(({ answerIds }) => answerIds),
    );
    assertAlmostEquals(three.loss, one.loss, 1e-5);
    assert(largestDifference(three.gradients, one.gradients) < 1e-4);
    assertEquals(three.outcome.metrics!.on_policy, source === "student" ? 1 : 0);
  });
}

Deno.test("GKD with loss_reduction micro_batch is the mean of the micro-batches' means", async () => {
  const settings = [
    "gkd.lmbda=0",
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=6",
  ];
  const rows = shapeRows().map((row) => ({
    ...row,
    texts: (row.texts as { user: string; assistant: string }[]).map(({ user, assistant }, i) => ({
      user,
      assistant: i % 2 === 0 ? assistant : `it is ${assistant}`,
    })),
  }));
  using micro = await tinyGKD(
    tinyConfig([...settings, "training.loss_reduction=micro_batch"]),
    { rows },
  );
  using token = await tinyGKD(tinyConfig(settings), { rows });
  const own = await micro.gradients(0), other = await token.gradients(0);
  const lengths = lastAnswers(micro).map(({ answerIds }) => answerIds.length);
  assert(new Set(lengths).size > 1, `answers of different lengths: ${lengths}`);
  assert(Math.abs(own.loss - other.loss) > 1e-6, `${own.loss} and ${other.loss}`);
});

for (const beta of [0, 0.3, 1]) {
  Deno.test(`GKD's loss is the mean divergence of the full distributions, beta ${beta}`, async () => {
    using run = await tinyGKD(tinyConfig([...ONE_BATCH, `gkd.beta=${beta}`, "gkd.lmbda=1"]));
    await run.update(0);
    const { loss } = await run.gradients(1);
    const { maker, dataset } = run.method.parts;
    let sum = 0, count = 0;
    for (const { row, promptIds, answerIds } of lastAnswers(run)) {
      const example = "tryGet" in dataset ? await dataset.tryGet(row) : null;
      const { images } = await maker.make({ example: example!, row } as never);
      const logProbs = (model: typeof run.prepared.model) => {
        const ids = [...promptIds, ...answerIds];
        const { logits } = model.forward({ inputIds: [ids], images: [images], returnLogits: true });
        return tf.logSoftmax(logits!.squeeze<tf.Tensor2D>([0])).arraySync() as number[][];
      };
      const p = logProbs(run.teacher.loaded.model), q = logProbs(run.prepared.model);
      answerIds.forEach((_, t) => {
        const at = promptIds.length - 1 + t;
        sum += p[at].reduce((total, lp, v) => {
          const lq = q[at][v];
          const forward = Math.exp(lp), backward = Math.exp(lq);
          if (beta === 0) return total + forward * (lp - lq);
          if (beta === 1) return total + backward * (lq - lp);
          const m = Math.log(beta * forward + (1 - beta) * backward);
          return total + beta * forward * (lp - m) + (1 - beta) * backward * (lq - m);
        }, 0);
        count++;
      });
    }
    assertAlmostEquals(loss, sum / count, 1e-5);
  });
}

for (const beta of [0, 0.3, 1]) {
  Deno.test(`GKD's gradient is that of plain ops on all logits, beta ${beta}`, async () => {
    using run = await tinyGKD(tinyConfig([...ONE_BATCH, `gkd.beta=${beta}`, "gkd.lmbda=1"]));
    await run.update(0);
    const before = await run.weights();
    const { gradients } = await run.gradients(1);
    assertEquals(largestDifference(before, await run.weights()), 0);
    const student = run.prepared.model, teacher = run.teacher.loaded.model;
    const { parts: { dataset, maker } } = run.method;
    const examples = await Promise.all(
      lastAnswers(run).map(async (answer) => {
        const example = "tryGet" in dataset ? await dataset.tryGet(answer.row) : null;
        const { images } = await maker.make({ example: example!, row: answer.row } as never);
        return { ...answer, images };
      }),
    );
    const batch = joinRows(answerRows(examples, student.imageTokenId), student.config);
    const rows = tf.tensor1d(labelledRows(batch.labels!), "int32");
    const logProbs = (model: typeof student) => {
      const logits = model.logits(model.hiddenStates(batch)).squeeze<tf.Tensor2D>([0]);
      return tf.logSoftmax(tf.gather(logits, rows));
    };
    const p = tf.tidy(() => logProbs(teacher));
    const divergence = (x: tf.Tensor, y: tf.Tensor) => x.exp().mul(x.sub(y)).sum(-1);
    const plain = lossGradients(() => {
      const q = logProbs(student);
      if (beta === 0) return divergence(p, q).mean() as tf.Scalar;
      if (beta === 1) return divergence(q, p).mean() as tf.Scalar;
      const m = p.exp().mul(beta).add(q.exp().mul(1 - beta)).log();
      return divergence(p, m).mul(beta).add(divergence(q, m).mul(1 - beta)).mean() as tf.Scalar;
    }, run.optimizer.parameters);
    const values = await readBack([...plain.gradients.values()]) as Float32Array[];
    const expected = new Map([...plain.gradients.keys()].map((name, i) => [name, values[i]]));
    assertEquals(gradients.size, expected.size);
    assert(largestDifference(gradients, expected) < 1e-4);
    tf.dispose([p, rows, plain.loss, ...plain.gradients.values()]);
    batch.dispose();
  });
}

Deno.test("GKD goes on to the bit, with dropout, own answers and an unfinished epoch", async () => {
  const config = tinyConfig([...LORA, "gkd.disable_dropout=false", "gkd.lmbda=0.5"]);
  using straight = await tinyGKD(config);
  for (let step = 0; step < 3; step++) await straight.update(step);
  using resumed = await tinyGKD(config);
  await resumed.goOnFrom(straight);
  const sources = new Set<number>();
  const lasting = (metrics: Readonly<Record<string, number>> = {}) =>
    Object.fromEntries(Object.entries(metrics).filter(([name]) => !name.startsWith("time/")));
  for (let step = 3; step < 9; step++) {
    const expected = await straight.update(step), got = await resumed.update(step);
    assertEquals(got.loss, expected.loss);
    assertEquals(lasting(got.outcome.metrics), lasting(expected.outcome.metrics));
    sources.add(expected.outcome.metrics!.on_policy);
  }
  assertEquals(sources.size, 2, "steps of both kinds");
  assertEquals(await resumed.weights(), await straight.weights());
});

Deno.test("GKD brings the student to the teacher, and leaves no tensors", async () => {
  using run = await tinyGKD(tinyConfig([...ONE_BATCH, "gkd.beta=0", "gkd.lmbda=0.5"]));
  const before = (await run.method.evaluate())!.metrics;
  await run.update(0);
  await run.update(1);
  const { numTensors } = tf.memory();
  for (let step = 2; step < 40; step++) await run.update(step);
  assertEquals(tf.memory().numTensors, numTensors);
  const after = (await run.method.evaluate())!.metrics;
  assertEquals(tf.memory().numTensors, numTensors);
  assert(after.eval_loss < 0.6 * before.eval_loss, `${before.eval_loss} to ${after.eval_loss}`);
});

Deno.test("GKD's teacher gets no gradient and keeps its weights", async () => {
  using run = await tinyGKD(tinyConfig(["gkd.lmbda=1"]));
  const { weights } = run.teacher.loaded.model;
  const sum = () => tf.tidy(() => tf.addN([...weights.values()].map((w) => w.sum())).dataSync()[0]);
  const before = sum();
  const { gradients } = await run.gradients(0);
  assertEquals([...gradients.keys()].sort(), [...run.optimizer.parameters.keys()].sort());
  await run.update(1);
  assertEquals(sum(), before);
});

Deno.test("a GKD step that is aborted leaves everything as it was", async () => {
  for (const lmbda of [0, 1]) {
    using run = await tinyGKD(tinyConfig([`gkd.lmbda=${lmbda}`]));
    await run.update(0);
    const before = JSON.stringify(run.method.state());
    const accumulator = new GradientAccumulator();
    const { parameters } = run.optimizer;
    const signal = AbortSignal.abort();
    await assertRejects(
      () => run.method.step({ accumulator, parameters, step: 1, signal }),
      StepAborted,
    );
    accumulator.reset();
    assertEquals(JSON.stringify(run.method.state()), before);
  }
});

Deno.test("answerSource() takes the student's answers in a share lmbda of the steps", () => {
  const share = (lmbda: number) => {
    const options = { lmbda, seqKd: false, seed: 3 };
    const steps = Array.from({ length: 2000 }, (_, step) => answerSource(step, options));
    return steps.filter((source) => source === "student").length / steps.length;
  };
  assertEquals([share(0), share(1)], [0, 1]);
  assert(Math.abs(share(0.3) - 0.3) < 4 * Math.sqrt(0.3 * 0.7 / 2000));
  assertEquals(answerSource(5, { lmbda: 0, seqKd: true, seed: 0 }), "teacher");
});
