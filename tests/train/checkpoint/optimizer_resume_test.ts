import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { OPTIMIZER_NAMES } from "../../../src/config/schema/optimizer/optimizer_names.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { readSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { CheckpointError } from "../../../src/train/checkpoint/checkpoint.ts";
import { broadcastOptimizer } from "../../../src/train/loop/same_weights.ts";
import { Optimizer } from "../../../src/train/optimizer/optimizer.ts";
import { localRanks } from "../../distributed/local_ranks.ts";
import { largestDifference } from "../largest_difference.ts";
import { LORA, type TinySFT, tinySFT } from "../sft/tiny_sft.ts";

const SETTINGS = [
  "training.max_steps=4",
  "training.save_steps=2",
  "training.weight_decay=0.1",
  "training.max_grad_norm=0.5",
  "training.warmup_steps=3",
  "training.lr_vision_backbone=1e-3",
];

/** An optimizer as overrides; tiny parameters in 8 bits too. */
function optim(name: string): string[] {
  return [
    `training.optim=${name}`,
    ...(name.endsWith("8bit") ? ["training.optim_args.min_8bit_size=256"] : []),
  ];
}

/** The bytes of all weights and of the optimizer's state. */
async function bytesOf({ trainer, weights }: TinySFT): Promise<unknown> {
  trainer.optimizer.showTrained();
  const { steps, arrays, numbers } = await trainer.optimizer.state();
  const copies = Array.from(arrays, ([name, { data }]) => [name, data.slice()]);
  return {
    weights: await weights(),
    steps,
    arrays: new Map(copies as [string, unknown][]),
    numbers,
  };
}

const KINDS: readonly (readonly [what: string, settings: readonly string[]])[] = [
  ["three groups with NEFTune", ["training.neftune_noise_alpha=5"]],
  ["LoRA in bfloat16", [...LORA, "training.bf16=true"]],
];

for (const name of OPTIMIZER_NAMES) {
  for (const [what, kind] of KINDS) {
    Deno.test(`${name}, ${what}: a resumed run ends with the same bytes`, async () => {
      const settings = [...SETTINGS, ...optim(name), ...kind];
      await using whole = await tinySFT(settings);
      assert(whole.groups.length === 3, `${whole.groups.map((group) => group.name)}`);
      const start = await whole.weights();
      await whole.trainer.train();
      await using rest = await tinySFT(settings);
      await rest.trainer.resume(`${whole.folder}/checkpoint-2`);
      await rest.trainer.train();
      assertEquals(await bytesOf(rest), await bytesOf(whole));
      assert(largestDifference(start, await whole.weights()) > 1e-3);
    });
  }
}

Deno.test("another optimizer than the checkpoint's is refused", async () => {
  await using run = await tinySFT([...SETTINGS, ...optim("lion_32bit")]);
  await run.trainer.train();
  await using other = await tinySFT([...SETTINGS, ...optim("muon")]);
  const folder = `${run.folder}/checkpoint-2`;
  await assertRejects(
    () => other.trainer.resume(folder),
    CheckpointError,
    'training.optim was "lion_32bit" and is "muon"',
  );
  await assertRejects(
    () => other.trainer.resume(folder, { anyway: true }),
    Error,
    "for muon; was it written by another config or optimizer?",
  );
});

Deno.test("schedule_free_adamw evaluates and saves averages, and trains on as if it had not", async () => {
  const settings = [...SETTINGS, ...optim("schedule_free_adamw")];
  await using run = await tinySFT([
    ...settings,
    "training.save_steps=1",
    "training.eval_strategy=steps",
    "training.eval_steps=1",
    "training.save_total_limit=9",
  ]);
  const { evaluation } = await run.trainer.train();
  await using quiet = await tinySFT([...settings, "training.save_strategy=no"]);
  await quiet.trainer.train();
  assertEquals(await quiet.weights(), await run.weights(), "both end with the averages");
  assertEquals(await bytesOf(quiet), await bytesOf(run));

  const { arrays } = await run.trainer.optimizer.state();
  const trained = await run.weights();
  const saved = await readSafetensors(`${run.folder}/checkpoint-4/model.safetensors`);
  for (const [name, y] of trained) {
    const z = arrays.get(`z.${name}`)!.data;
    const x = saved.get(name)!.data as Float32Array;
    assert(x.some((value, i) => value !== y[i]) || y.every((value, i) => value === z[i]), name);
    // y = (1 − β₁) z + β₁ x
    x.forEach((value, i) => assert(Math.abs(0.1 * z[i] + 0.9 * value - y[i]) < 1e-6, name));
  }
  // The last evaluation measured the weights that were saved.
  await run.trainer.optimizer.showAverages();
  const again = await run.method.evaluate();
  assertEquals(again!.metrics.eval_loss, evaluation!.eval_loss);
  run.trainer.optimizer.showTrained();
  const other = await run.method.evaluate();
  assert(other!.metrics.eval_loss !== evaluation!.eval_loss);
});

Deno.test("schedule_free_adamw ends with the averages of its best checkpoint", async () => {
  await using run = await tinySFT([
    ...SETTINGS,
    ...optim("schedule_free_adamw"),
    "training.learning_rate=0.3", // so high that an early checkpoint is the best
    "training.lr_mp=0.3",
    "training.save_steps=1",
    "training.eval_strategy=steps",
    "training.eval_steps=1",
    "training.load_best_model_at_end=true",
  ]);
  await run.trainer.train();
  const { bestCheckpoint } = run.trainer;
  assert(bestCheckpoint !== null && !bestCheckpoint.endsWith("checkpoint-4"), `${bestCheckpoint}`);
  const saved = await readSafetensors(`${bestCheckpoint}/model.safetensors`);
  for (const [name, values] of await run.weights()) assertEquals(values, saved.get(name)!.data);
});

Deno.test("schedule_free_adamw logs its own warm-up as the learning rate", async () => {
  await using run = await tinySFT([
    ...SETTINGS,
    ...optim("schedule_free_adamw"),
    "training.logging_steps=1",
    "training.lr_mp=0.03",
  ]);
  await run.trainer.train();
  const rates = run.metrics().map((line) => line["learning_rate/modality_projector"]);
  assertEquals(rates.map((rate) => Math.round(rate * 1e6) / 1e6), [0.01, 0.02, 0.03, 0.03]);
});

for (const name of OPTIMIZER_NAMES) {
  Deno.test(`${name}: rank 0 gives its weights and state to the others`, async () => {
    await initBackend({ backend: "wasm" });
    const make = (value: number) => {
      const w = tf.tidy(() => tf.variable(tf.fill([20, 20], value), false));
      const group = {
        name: "g",
        learningRate: 0.1,
        weightDecay: 0.1,
        parameters: new Map([["w", w]]),
      };
      const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, maxGradNorm: 1 };
      const args: Record<string, number> = name.endsWith("8bit") ? { min_8bit_size: 0 } : {};
      return new Optimizer([group], { ...options, name, arguments: args });
    };
    const gradient = () => new Map([["w", tf.linspace(-1, 1, 400).reshape([20, 20])]]);
    const ends = await Promise.all(
      localRanks(2).map(async (ranks) => {
        const optimizer = make(ranks.rank + 1);
        if (ranks.rank === 0) optimizer.step(gradient(), 1, 1);
        // As rank 0 tells the others what it read of a checkpoint.
        const { steps, numbers } = await optimizer.state();
        const told = JSON.stringify({ optimizer_steps: steps, optimizer_numbers: numbers });
        const [first] = await ranks.gather(new TextEncoder().encode(told), "the state");
        await broadcastOptimizer(ranks, optimizer, JSON.parse(new TextDecoder().decode(first)));
        optimizer.step(gradient(), 1, 1);
        const end = await optimizer.state();
        const weights = (await optimizer.parameters.get("w")!.data()).slice();
        optimizer.dispose();
        return { weights, ...end };
      }),
    );
    assertEquals(ends[1], ends[0]);
  });
}
