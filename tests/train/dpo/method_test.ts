import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { evaluatePreference } from "../../../src/evaluate/evaluate_preference.ts";
import { DPO_LOSS_TYPES, dpoLoss } from "../../../src/losses/dpo.ts";
import { GradientAccumulator, lossGradients } from "../../../src/train/loop/gradients.ts";
import { StepAborted } from "../../../src/train/loop/training_method.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { pairBatch } from "../../../src/train/dpo/examples.ts";
import { AdapterFreeReference } from "../../../src/train/dpo/reference.ts";
import { makeReference } from "../../../src/train/dpo/setup.ts";
import { splitByDecay } from "../../../src/train/optimizer/parameter_groups.ts";
import { examplesInOrder } from "../../../src/train/batches/made_ahead.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { LAB_DPO } from "../../config/lab_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import {
  largestDifference,
  LORA,
  madeUpReference,
  meanOfMicroBatches,
  shapeRows,
  tinyConfig,
  tinyModel,
  tinyRun,
} from "./tiny_dpo.ts";

const ONE_BATCH = [
  "training.per_device_train_batch_size=6",
  "training.gradient_accumulation_steps=1",
];
/** exo_pair takes the logarithm of the smoothing. */
const SMOOTHED = "dpo.label_smoothing=0.1";

const LOSSES: readonly [loss: string, ...settings: string[]][] = [
  ...DPO_LOSS_TYPES.map((type) => [type] as [string]),
  ["sigmoid, bco_pair, sft"],
  ["sigmoid, sft", "dpo.ld_alpha=0.3"],
  ["sigmoid, ipo", "dpo.use_weighting=true"],
];

for (const [loss, ...more] of LOSSES) {
  const name = [loss, ...more].join(", ");
  Deno.test(`DPO with ${name}: three micro-batches give the gradient of one batch`, async () => {
    const setting = [`dpo.loss_type=[${loss}]`, SMOOTHED, ...more];
    using parts = await tinyRun(tinyConfig(setting));
    const three = await parts.gradients();
    using whole = await tinyRun(tinyConfig([...setting, ...ONE_BATCH]));
    const one = await whole.gradients();
    assertAlmostEquals(three.loss, one.loss, 1e-5 * Math.max(1, Math.abs(one.loss)));
    assert(largestDifference(three.gradients, one.gradients) < 2e-4);
    assertEquals(Object.keys(three.outcome.metrics!), Object.keys(one.outcome.metrics!));
    for (const [name, value] of Object.entries(one.outcome.metrics!)) {
      assertAlmostEquals(three.outcome.metrics![name], value, 1e-4, name);
    }
  });
}

Deno.test("DPO's gradient is that of the loss, each answer alone and unpadded", async () => {
  using run = await tinyRun(tinyConfig([...ONE_BATCH, "dpo.beta=0.3"]));
  const { method, prepared: { model }, optimizer } = run;
  const got = await run.gradients();
  const reference = madeUpReference();
  const rows = (method.describeLastBatch() as { row: number }[][])[0].map(({ row }) => row);
  const terms: tf.Scalar[] = [];
  const sums = new Map<string, tf.Tensor>();
  for await (const placed of examplesInOrder(method.parts.dataset, false)) {
    if (!rows.includes(placed.row!)) continue;
    const pair = await method.parts.maker.make(placed);
    const { chosen: [refChosen], rejected: [refRejected] } = await reference.logProbs(
      { pairs: [pair], batch: pairBatch([pair], false, model) },
    );
    const { loss, gradients } = lossGradients(() => {
      const [chosen, rejected] = [pair.chosen, pair.rejected].map(({ inputIds, labels }) => {
        const { loss } = model.forward({
          inputIds: [[...Array.from(inputIds)]],
          labels: [[...Array.from(labels)]],
          images: [pair.images],
        });
        const tokens = Array.from(labels).filter((label) => label !== -100).length;
        return loss!.mul(-tokens);
      });
      const margin = chosen.sub(refChosen).sub(rejected.sub(refRejected)).mul(0.3);
      return margin.neg().softplus().div(rows.length) as tf.Scalar;
    }, optimizer.parameters);
    terms.push(loss);
    for (const [name, gradient] of gradients) {
      sums.set(name, sums.has(name) ? sums.get(name)!.add(gradient) : gradient);
    }
  }
  const values = await readBack([...sums.values()]);
  const expected = new Map([...sums.keys()].map((name, i) => [name, values[i] as Float32Array]));
  assertEquals(terms.length, 6);
  assertAlmostEquals(got.loss, tf.addN(terms).dataSync()[0], 1e-5);
  assert(largestDifference(got.gradients, expected) < 2e-4);
});

gpuTest(
  "DPO has the same loss and gradient on a GPU, whose values arrive after the tape is gone",
  async () => {
    const config = tinyConfig([...LORA, "dpo.disable_dropout=false"]);
    using there = await tinyRun(config, { backend: "webgpu" });
    const a = await there.gradients();
    using here = await tinyRun(config);
    const b = await here.gradients();
    assertAlmostEquals(a.loss, b.loss, 1e-5);
    assert(largestDifference(a.gradients, b.gradients) < 1e-3);
  },
);

Deno.test("DPO gives the same numbers with and without a shared prefix", async () => {
  using together = await tinyRun(tinyConfig());
  using apart = await tinyRun(tinyConfig(["training.share_prefix=false"]));
  const a = await together.gradients(), b = await apart.gradients();
  assertAlmostEquals(a.loss, b.loss, 1e-5);
  assert(largestDifference(a.gradients, b.gradients) < 2e-4);
  assert(a.outcome.tokens < 0.75 * b.outcome.tokens, "the prompt and its picture count once");
});

Deno.test("DPO with loss_reduction micro_batch is the mean of the micro-batches' losses", async () => {
  using run = await tinyRun(
    tinyConfig(["training.loss_reduction=micro_batch", "dpo.loss_type=[sft]"]),
  );
  const { loss } = await run.gradients();
  assertAlmostEquals(loss, await meanOfMicroBatches(run), 1e-5);
});

for (
  const settings of [
    [],
    ["dpo.use_weighting=true", "dpo.ld_alpha=0.5"],
    ["dpo.loss_type=[orpo]"],
    ["dpo.loss_type=[simpo]"],
  ]
) {
  const name = ["DPO", ...settings].join(" ");
  Deno.test(`${name} resumes to the bit, dropout and an unfinished epoch included`, async () => {
    await resumesToTheBit(settings);
  });
}

async function resumesToTheBit(settings: readonly string[]): Promise<void> {
  const config = tinyConfig([...LORA, "dpo.disable_dropout=false", ...settings]);
  using straight = await tinyRun(config);
  for (let step = 0; step < 3; step++) await straight.update();
  const state = JSON.parse(JSON.stringify(straight.method.state()));
  const weights = await straight.weights();
  const moments = await straight.optimizer.state();

  using resumed = await tinyRun(config);
  for (const [name, parameter] of resumed.optimizer.parameters) {
    tf.tidy(() => parameter.assign(tf.tensor(weights.get(name)!, parameter.shape)));
  }
  resumed.optimizer.restore(moments);
  resumed.method.restore(state);
  for (let step = 0; step < 3; step++) {
    const expected = await straight.update(), got = await resumed.update();
    assertEquals(got.loss, expected.loss);
    assertEquals(got.outcome.metrics, expected.outcome.metrics);
    assertEquals(got.outcome.epoch, expected.outcome.epoch);
  }
  assertEquals(await resumed.weights(), await straight.weights());
}

Deno.test("losses without a reference make none", async () => {
  const config = tinyConfig(["dpo.loss_type=[cpo, sft]"]);
  using run = await tinyRun(config, { reference: () => null });
  const { prepared, method, groups } = run;
  const { maker, dataset: train } = method.parts;
  const none = { config, prepared, groups, maker, train, evaluation: null };
  assertEquals(await makeReference(none), null);
  assert(Number.isFinite((await run.update()).loss));
});

Deno.test("LD-DPO weighs the tail of the longer answer under policy and reference alike", async () => {
  const plain = tinyConfig([...LORA, "dpo.ld_alpha=1"]);
  const settings = (alpha: number) => tinyConfig([...LORA, `dpo.ld_alpha=${alpha}`]);
  const lossOf = async (config: typeof plain) => {
    using run = await tinyRun(config, {
      reference: ({ model }) => new AdapterFreeReference(model, config.dpo.ld_alpha),
    });
    return await run.gradients();
  };
  // Fresh adapters change nothing: policy and reference are equal however tokens are weighed.
  const [one, none, half] = [
    await lossOf(plain),
    await lossOf(settings(0)),
    await lossOf(settings(0.5)),
  ];
  for (const { loss } of [one, none, half]) assertAlmostEquals(loss, Math.log(2), 1e-5);
  // The gradient is linear in the weight.
  for (const [name, values] of half.gradients) {
    values.forEach((value, i) => {
      const mean = (one.gradients.get(name)![i] + none.gradients.get(name)![i]) / 2;
      assertAlmostEquals(value, mean, 1e-5);
    });
  }
});

Deno.test("WPO weighs a pair by how likely the policy finds its answers", async () => {
  using run = await tinyRun(tinyConfig([...ONE_BATCH, "dpo.beta=0.1", "dpo.use_weighting=true"]));
  const { model } = run.prepared;
  const { loss } = await run.gradients();
  using plain = await tinyRun(tinyConfig(ONE_BATCH));
  const rows = (run.method.describeLastBatch() as { row: number }[][])[0].map(({ row }) => row);
  let expected = 0;
  const reference = madeUpReference();
  for await (const placed of examplesInOrder(plain.method.parts.dataset, false)) {
    if (!rows.includes(placed.row!)) continue;
    const pair = await plain.method.parts.maker.make(placed);
    const margin: number[] = [], weights: number[] = [];
    for (const { inputIds, labels } of [pair.chosen, pair.rejected]) {
      const { logits } = model.forward({
        inputIds: [[...Array.from(inputIds)]],
        images: [pair.images],
        returnLogits: true,
      });
      const logProbs = tf.logSoftmax(logits!.squeeze<tf.Tensor2D>([0]));
      const collision = logProbs.exp().square().sum(-1).log().dataSync();
      const values = logProbs.arraySync() as number[][];
      const labelled = Array.from(labels, (id, t) => [id, t]).filter(([id]) => id !== -100);
      margin.push(labelled.reduce((sum, [id, t]) => sum + values[t][id], 0));
      const aligned = labelled.map(([id, t]) => values[t][id] - collision[t]);
      weights.push(Math.exp(aligned.reduce((sum, value) => sum + value, 0) / aligned.length));
    }
    const { chosen: [refChosen], rejected: [refRejected] } = await reference.logProbs(
      { pairs: [pair], batch: pairBatch([pair], false, model) },
    );
    const z = 0.1 * (margin[0] - refChosen - margin[1] + refRejected);
    expected += weights[0] * weights[1] * Math.log1p(Math.exp(-z)) / rows.length;
  }
  assertEquals(run.method.parts.reference === null, false);
  assertAlmostEquals(loss, expected, 1e-4 * expected);
});

Deno.test("a DPO step that is aborted leaves everything as it was", async () => {
  using run = await tinyRun(tinyConfig());
  using other = await tinyRun(tinyConfig());
  await run.update();
  await other.update();
  const before = JSON.stringify(run.method.state());
  const controller = new AbortController();
  const { prepared: { model } } = run;
  const { labelLogProbs } = model;
  // Ctrl-C while the first micro-batch is under way.
  model.labelLogProbs = (...inputs) => {
    controller.abort();
    return labelLogProbs.apply(model, inputs);
  };
  const { parameters } = run.optimizer;
  const accumulator = new GradientAccumulator();
  await assertRejects(
    () => run.method.step({ accumulator, parameters, step: 1, signal: controller.signal }),
    StepAborted,
  );
  accumulator.reset();
  model.labelLogProbs = labelLogProbs;
  assertEquals(JSON.stringify(run.method.state()), before);
  assertEquals((await run.update()).loss, (await other.update()).loss);
});

Deno.test("a DPO step leaves no tensors", async () => {
  for (const extra of [[], LORA]) {
    using run = await tinyRun(tinyConfig([...extra, "dpo.loss_type=[aot, sigmoid]"]));
    await run.update();
    const { numTensors } = tf.memory();
    await run.update();
    await run.method.evaluate();
    assertEquals(tf.memory().numTensors, numTensors);
  }
});

Deno.test("DPO learns which answer was chosen, and says so as TRL does", async () => {
  const config = tinyConfig([...ONE_BATCH, "dpo.beta=1", "dpo.reference_free=true"]);
  using run = await tinyRun(config, { rows: shapeRows(2), reference: () => null });
  const before = (await run.method.evaluate())!.metrics;
  for (let step = 0; step < 25; step++) await run.update();
  const { metrics, samples } = (await run.method.evaluate())!;
  for (
    const name of [
      "eval_loss",
      "eval_rewards/chosen",
      "eval_rewards/rejected",
      "eval_rewards/accuracies",
      "eval_rewards/margins",
      "eval_logps/chosen",
      "eval_logps/rejected",
    ]
  ) assert(Number.isFinite(metrics[name]), name);
  assert(metrics.eval_loss < before.eval_loss);
  assert(metrics["eval_rewards/margins"] > before["eval_rewards/margins"]);
  assertEquals(metrics.eval_preference_accuracy, 1);
  assertEquals(samples[0].answer, samples[0].expected);
  assertEquals(samples[0].correct, true);
  // The same pairs through `eval --format preference`.
  const { accuracy } = await evaluatePreference(
    run.prepared,
    run.method.parts.dataset as Parameters<typeof evaluatePreference>[1],
  );
  assertEquals(accuracy, metrics.eval_preference_accuracy);
});

Deno.test("DPO skips pairs it cannot use and says why", async () => {
  const good = shapeRows(12);
  const picture = good[0].images;
  const rows = [
    ...good,
    { images: picture, prompt: "Same?", chosen: "yes", rejected: "yes" },
    { images: picture, prompt: "Empty?", chosen: "<|image|>", rejected: "no" },
    { images: picture, prompt: "Long? ".repeat(60), chosen: "yes", rejected: "no" },
  ];
  using run = await tinyRun(tinyConfig(), { rows });
  const { metrics } = (await run.method.evaluate())!;
  assert(Number.isFinite(metrics.eval_loss));
  const { rows: skipped, total } = run.method.skippedRows();
  assertEquals(total, rows.length);
  assertEquals(skipped.map(({ reason }) => reason.replaceAll(/\d+/g, "N")), [
    "chosen and rejected are the same",
    "the chosen answer has no text",
    "the prompt has N tokens, N of them of images; max_seq_length N leaves no room for an answer",
  ]);
  // A whole epoch goes through them.
  for (let step = 0, ended = false; !ended; step++) {
    assert(step < 20);
    ended = (await run.update()).outcome.epochEnded;
  }
});

Deno.test("DPO skips a prompt whose images do not fit, never cutting them", async () => {
  const [row] = shapeRows(1);
  const images = Array.from({ length: 4 }, () => (row.images as unknown[])[0]) as typeof row.images;
  using run = await tinyRun(tinyConfig(["training.max_seq_length=24"]), {
    rows: [...shapeRows(12), { ...row, images }],
  });
  await run.method.evaluate();
  const { rows } = run.method.skippedRows();
  assertEquals(rows.length, 1);
  assert(/ 16 of them of images; max_seq_length 24/.test(rows[0].reason), rows[0].reason);
});

Deno.test("an answer that is too long for max_seq_length loses its end", async () => {
  const rows = shapeRows(1).map((row) => ({
    ...row,
    chosen: `${row.chosen} ${"yes ".repeat(60)}`,
  }));
  using run = await tinyRun(tinyConfig(["training.max_seq_length=40"]), { rows });
  for await (const placed of examplesInOrder(run.method.parts.dataset, false)) {
    const pair = await run.method.parts.maker.make(placed);
    assertEquals(pair.chosen.inputIds.length, 40);
    assert(pair.rejected.inputIds.length < 40);
  }
});

Deno.test("the shape of NanoVLM-Lab's dpo_config.yaml trains a step", async () => {
  const parsed = parseConfig(LAB_DPO, {
    overrides: ["dataset.preprocessing_fn=null", "model.model_name_or_path=initialize"],
  });
  const { use_lora, lora_config } = parsed.model;
  const config = { ...parsed, model: { ...tinyModel(), use_lora, lora_config } };
  using run = await tinyRun(config);
  assertEquals(run.groups.map(({ name }) => name), ["lora_adapters"]);
  const { loss, outcome } = await run.update();
  assertAlmostEquals(loss, dpoLossOf(outcome.metrics!["rewards/margins"]), 0.5);
  assert(outcome.tokens > 0);
});

/** The sigmoid loss of one margin. */
function dpoLossOf(margin: number): number {
  const zero = [0];
  const inputs = { rejectedLogProbs: zero, refChosenLogProbs: zero, refRejectedLogProbs: zero };
  return dpoLoss({ ...inputs, chosenLogProbs: [margin] }, { lossTypes: ["sigmoid"], beta: 1 }).loss;
}

Deno.test("biases and norms do not decay under DPO; everything else does", async () => {
  using run = await tinyRun(tinyConfig(["training.weight_decay=0.1"]));
  const still = run.groups.filter(({ weightDecay }) => weightDecay === 0)
    .flatMap(({ parameters }) => [...parameters.keys()]);
  assert(still.includes("decoder.blocks.0.norm1.weight"));
  assert(still.includes("decoder.norm.weight"));
  assert(still.includes("vision_encoder.blocks.0.ln2.weight"));
  assert(still.includes("vision_encoder.blocks.0.mlp.fc1.bias"));
  const decaying = run.groups.filter(({ weightDecay }) => weightDecay === 0.1)
    .flatMap(({ parameters }) => [...parameters.keys()]);
  assert(decaying.includes("vision_encoder.patch_embedding.position_embedding"));
  assert(decaying.includes("decoder.head.weight"));
  assert(decaying.every((name) => !/bias|norm|\.ln\d/.test(name)));
  assertEquals(still.length + decaying.length, run.prepared.model.weights.size);
  assertEquals(splitByDecay(run.groups).length, run.groups.length);
});
