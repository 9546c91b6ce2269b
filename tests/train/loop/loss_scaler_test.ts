import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { currentPrecision } from "../../../src/ops/half/precision.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { LOSS_SCALER_DEFAULTS, LossScaler } from "../../../src/train/loop/loss_scaler.ts";
import { NonFiniteError, type Optimizer } from "../../../src/train/optimizer/optimizer.ts";
import { Trainer } from "../../../src/train/loop/trainer.ts";
import { trainingPrecision } from "../../../src/train/loop/training_precision.ts";
import type { StepOutcome, TrainingMethod } from "../../../src/train/loop/training_method.ts";
import { largestDifference, tinyConfig as dpoConfig, tinyRun as dpoRun } from "../dpo/tiny_dpo.ts";
import { tinyConfig as grpoConfig, tinyRun as grpoRun } from "../grpo/tiny_grpo.ts";
import { methodWith } from "../method_with.ts";
import { LORA, tinySFT } from "../sft/tiny_sft.ts";

Deno.test("LossScaler takes the values of torch.amp.GradScaler", () => {
  // Recorded from torch 2.13: GradScaler(init_scale=1024, growth_interval=3), 1 an overflow.
  const overflows = "1000000011000100100110001011001110010001001000";
  // deno-fmt-ignore
  const scales = [
    512, 512, 512, 1024, 1024, 1024, 2048, 2048, 1024, 512, 512, 512, 1024, 512, 512, 512, 256, 256,
    256, 128, 64, 64, 64, 128, 64, 64, 32, 16, 16, 16, 8, 4, 2, 2, 2, 1, 1, 1, 2, 1, 1, 1, 0.5, 0.5,
    0.5, 1,
  ];
  const scaler = new LossScaler({ scale: 1024, growth_interval: 3 });
  const found = [...overflows].map((overflowed) => {
    scaler.update(overflowed === "1");
    return scaler.scale;
  });
  assertEquals(found, scales);
});

Deno.test("LossScaler starts with GradScaler's numbers, grows after 2,000 good steps, and never to infinity", () => {
  const scaler = new LossScaler();
  assertEquals(scaler.state(), {
    scale: 65_536,
    growth_factor: 2,
    backoff_factor: 0.5,
    growth_interval: 2000,
    _growth_tracker: 0,
  });
  for (let step = 0; step < 1999; step++) scaler.update(false);
  assertEquals(scaler.scale, 65_536);
  const copy = new LossScaler();
  copy.restore(JSON.parse(JSON.stringify(scaler.state())));
  for (const one of [scaler, copy]) {
    one.update(false);
    assertEquals(one.scale, 131_072);
  }
  const large = new LossScaler({ ...LOSS_SCALER_DEFAULTS, scale: 2 ** 127, growth_interval: 1 });
  large.update(false);
  assertEquals(large.scale, 2 ** 127);
});

Deno.test("trainingPrecision() takes one of both formats, and says what to do about two", () => {
  assertEquals(trainingPrecision({ bf16: false, fp16: false }), "float32");
  assertEquals(trainingPrecision({ bf16: true, fp16: false }), "bf16");
  assertEquals(trainingPrecision({ bf16: false, fp16: true }), "fp16");
  assertThrows(
    () => trainingPrecision({ bf16: true, fp16: true }),
    Error,
    "set training.fp16=false",
  );
});

/** Gradients of a method's next step. */
async function gradientsOf(
  method: TrainingMethod,
  optimizer: Optimizer,
  lossScale: number,
): Promise<{ gradients: Map<string, Float32Array>; outcome: StepOutcome }> {
  const accumulator = new GradientAccumulator();
  const { parameters } = optimizer;
  const outcome = await method.step({ accumulator, parameters, step: 0, lossScale });
  const names = [...accumulator.gradients.keys()];
  const values = await readBack([...accumulator.gradients.values()]);
  accumulator.reset();
  return { gradients: new Map(names.map((name, i) => [name, values[i] as Float32Array])), outcome };
}

const METHODS: Record<
  string,
  () => Promise<AsyncDisposable & { method: TrainingMethod; optimizer: Optimizer }>
> = {
  sft: async () => {
    const run = await tinySFT(["training.max_steps=1"]);
    const dispose = () => run[Symbol.asyncDispose]();
    return { method: run.method, optimizer: run.trainer.optimizer, [Symbol.asyncDispose]: dispose };
  },
  dpo: async () => {
    const run = await dpoRun(dpoConfig());
    const dispose = () => Promise.resolve(run[Symbol.dispose]());
    return { method: run.method, optimizer: run.optimizer, [Symbol.asyncDispose]: dispose };
  },
  grpo: async () => {
    const run = await grpoRun(grpoConfig());
    const dispose = () => Promise.resolve(run[Symbol.dispose]());
    return { method: run.method, optimizer: run.optimizer, [Symbol.asyncDispose]: dispose };
  },
};

for (const [name, make] of Object.entries(METHODS)) {
  Deno.test(`${name} multiplies gradients by the loss scale, and leaves the loss alone`, async () => {
    const run = async (scale: number) => {
      await using made = await make();
      const { gradients, outcome } = await gradientsOf(made.method, made.optimizer, scale);
      const losses = (await readBack(outcome.losses)).map(([loss]) => loss);
      tf.dispose(outcome.losses);
      return { gradients, losses };
    };
    const [plain, scaled] = [await run(1), await run(1024)];
    assertEquals(scaled.losses, plain.losses);
    assert(plain.gradients.size > 0);
    for (const [parameter, values] of plain.gradients) {
      assertEquals(scaled.gradients.get(parameter), values.map((value) => 1024 * value), parameter);
    }
  });
}

Deno.test("Optimizer takes the loss scale out before it clips and updates", async () => {
  const settings = ["training.max_steps=1", "training.max_grad_norm=0.1"];
  const update = async (scale: number) => {
    await using run = await tinySFT(settings);
    const { optimizer } = run.trainer;
    const accumulator = new GradientAccumulator();
    const { parameters } = optimizer;
    const outcome = await run.method.step({ accumulator, parameters, step: 0, lossScale: scale });
    const { gradNorm } = await optimizer.measure(accumulator.gradients, outcome.losses, scale);
    optimizer.step(accumulator.gradients, gradNorm, 1, scale);
    tf.dispose(outcome.losses);
    accumulator.reset();
    return { gradNorm, weights: await run.weights() };
  };
  const [plain, scaled] = [await update(1), await update(4096)];
  assert(plain.gradNorm > 0.1, "the gradient is clipped");
  assertEquals(scaled, plain);
});

const FP16 = [
  "training.fp16=true",
  "training.save_steps=1",
  "training.save_total_limit=null",
  "training.logging_steps=1",
  "training.lr_scheduler_type=linear",
];

Deno.test("steps whose gradients overflow in fp16 change nothing but the scale, and are counted", async () => {
  await using run = await tinySFT([...FP16, "training.max_steps=26", "training.save_strategy=no"]);
  const seen = [await run.weights()];
  const trainer = new Trainer(run.method, {
    ...run.options,
    // Far above what float16 holds: the first steps are lost.
    lossScaler: new LossScaler({ scale: 2 ** 36, growth_interval: 3 }),
    callbacks: [{ onStepEnd: async () => void seen.push(await run.weights()) }],
  });
  await trainer.train();
  const logged = run.metrics();
  assertEquals(logged.length, 26);
  const skipped = logged.map(({ skipped_steps }) => skipped_steps);
  assert(skipped[0] === 1 && skipped.at(-1)! >= 3 && skipped.at(-1)! < 26, `${skipped}`);
  const scaler = new LossScaler({ scale: 2 ** 36, growth_interval: 3 });
  logged.forEach(({ loss, loss_scale, grad_norm, learning_rate }, i) => {
    const overflowed = skipped[i] > (skipped[i - 1] ?? 0);
    scaler.update(overflowed);
    assertEquals(loss_scale, scaler.scale);
    assert(Number.isFinite(loss));
    assertEquals(grad_norm === null, overflowed);
    assertEquals(largestDifference(seen[i + 1], seen[i]) === 0, overflowed, `step ${i + 1}`);
    // The rate of the last update: the schedule goes on with updates, not with steps.
    const rate = 3e-3 * (1 - Math.max(0, i - skipped[i]) / 26);
    assert(Math.abs(learning_rate - rate) < 1e-12, `step ${i + 1}: ${learning_rate}, ${rate}`);
  });
  trainer.dispose();
});

Deno.test("gradients that overflow in fp16 at a scale of 1 stop the run, with the way out", async () => {
  await using run = await tinySFT([...FP16, "training.max_steps=3"]);
  const method = methodWith(run.method, {
    step: async (context) => {
      const outcome = await run.method.step(context);
      const [parameter] = context.parameters.values();
      const overflow = () => parameter.sum().mul(Infinity) as tf.Scalar;
      (await context.accumulator.addLoss(overflow, context.parameters)).dispose();
      return outcome;
    },
  });
  const trainer = new Trainer(method, {
    ...run.options,
    training: { ...run.options.training, max_steps: 40 },
  });
  const error = await assertRejects(() => trainer.train(), NonFiniteError);
  assert(error.message.startsWith("Training stopped at step 17:"), error.message);
  assert(error.message.includes("training.bf16=true"), error.message);
  trainer.dispose();
});

for (const extra of [[], LORA]) {
  for (const format of ["bf16", "fp16"]) {
    const kind = extra.length > 0 ? " with LoRA" : "";
    Deno.test(`a run in ${format}${kind} goes on from a checkpoint to the same bytes`, async () => {
      const settings = [
        ...extra,
        `training.${format}=true`,
        "training.max_steps=7",
        "training.save_steps=3",
        "training.save_total_limit=null",
        "training.gradient_accumulation_steps=2",
        "training.lr_scheduler_type=cosine",
        "training.logging_steps=2",
      ];
      await using whole = await tinySFT(settings);
      assertEquals(whole.prepared.model.precision, format);
      await whole.trainer.train();
      await using again = await tinySFT(settings);
      await again.trainer.resume(`${whole.folder}/checkpoint-3`);
      await again.trainer.train();
      assertEquals(largestDifference(await again.weights(), await whole.weights()), 0);
      const state = async (folder: string) =>
        JSON.parse(await Deno.readTextFile(`${folder}/checkpoint-7/run_state.json`)).scaler;
      assertEquals(await state(again.folder), await state(whole.folder));
      assertEquals((await state(whole.folder)) !== undefined, format === "fp16");
      assertEquals(currentPrecision(), "float32");
    });
  }
}

Deno.test("a run that was resumed among skipped steps ends as the one that was not", async () => {
  const settings = [...FP16, "training.max_steps=24"];
  const lossScaler = () => new LossScaler({ scale: 2 ** 36, growth_interval: 3 });
  await using whole = await tinySFT(settings);
  const first = new Trainer(whole.method, { ...whole.options, lossScaler: lossScaler() });
  await first.train();
  first.dispose();
  const skipped = whole.metrics().map(({ skipped_steps }) => skipped_steps);
  assert(skipped[1] === 2 && skipped.at(-1)! > 2 && skipped.at(-1)! < 24, `${skipped}`);
  await using again = await tinySFT(settings);
  await again.trainer.resume(`${whole.folder}/checkpoint-2`);
  await again.trainer.train();
  assertEquals(largestDifference(await again.weights(), await whole.weights()), 0);
  const keys = ["step", "loss", "grad_norm", "learning_rate", "loss_scale", "skipped_steps"];
  const facts = (run: typeof whole) =>
    run.metrics().filter(({ step }) => step > 2).map((record) => keys.map((key) => record[key]));
  assertEquals(facts(again), facts(whole));
});
