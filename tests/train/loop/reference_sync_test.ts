/** A reference that follows the policy (TR-DPO), in DPO, KTO and GRPO. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import type { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { readSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { CheckpointError } from "../../../src/train/checkpoint/checkpoint.ts";
import { dryRunDPO } from "../../../src/train/dpo/dry_run.ts";
import { runDPO } from "../../../src/train/dpo/run.ts";
import { FrozenReference } from "../../../src/train/dpo/reference.ts";
import { ReferencePolicy } from "../../../src/train/loop/reference_policy.ts";
import { cases } from "../../losses/trl/recorded.ts";
import { LORA, tinyConfig as dpoConfig, tinyRun as tinyDPO } from "../dpo/tiny_dpo.ts";
import { tinyConfig as grpoConfig, tinyRun as tinyGRPO } from "../grpo/tiny_grpo.ts";
import { tinyConfig as ktoConfig, tinyKTO } from "../kto/tiny_kto.ts";
import { largestDifference } from "../largest_difference.ts";

await initBackend({ backend: "wasm" });

async function valuesOf(
  { state }: ReferencePolicy,
): Promise<Map<string, Float32Array>> {
  const values = await readBack([...state.values()]) as Float32Array[];
  return new Map([...state.keys()].map((name, i) => [name, values[i].slice()]));
}

for (const { alpha, steps } of cases.sync_ref_model) {
  Deno.test(`a reference that takes ${alpha} of the policy has the values of TRL's callback`, () => {
    const weight = tf.variable(tf.tensor2d(steps[0].policy, [2, 3]), false, `weight ${alpha}`);
    // Of the model, the reference sees the weights alone.
    const model = { weights: new Map([["w", weight]]), adapters: new Map() };
    const reference = new ReferencePolicy(
      model as unknown as VisionLanguageModel,
      [{ name: "all", learningRate: 1, weightDecay: 0, parameters: model.weights }],
      { alpha, steps: 1 },
    );
    steps.slice(1).forEach(({ policy, reference: expected }, i) => {
      tf.tidy(() => weight.assign(tf.tensor2d(policy, [2, 3])));
      reference.follow(i + 1);
      reference.state.get("w")!.dataSync()
        .forEach((value, n) => assertAlmostEquals(value, expected[n], 1e-6));
    });
    reference.dispose();
    weight.dispose();
  });
}

Deno.test("the reference becomes α times the policy plus the rest of itself, every K steps", async () => {
  let reference!: FrozenReference;
  const alpha = 0.6;
  using run = await tinyDPO(dpoConfig(), {
    reference: ({ model }, groups) =>
      reference = new FrozenReference(model, groups, null, { alpha, steps: 2 }),
  });
  const first = await valuesOf(reference.policy);
  assertEquals(largestDifference(first, await run.weights()), 0);
  await run.update();
  run.method.afterUpdate(1);
  assertEquals(largestDifference(await valuesOf(reference.policy), first), 0, "step 1 of 2");
  await run.update();
  run.method.afterUpdate(2);
  const policy = await run.weights();
  const second = await valuesOf(reference.policy);
  for (const [name, values] of second) {
    values.forEach((value, i) => {
      const expected = (1 - alpha) * first.get(name)![i] + alpha * policy.get(name)![i];
      assertAlmostEquals(value, expected, 1e-6, name);
    });
  }
  assert(largestDifference(second, first) > 1e-3);
  assertEquals(largestDifference(policy, await run.weights()), 0, "the policy stays");
});

Deno.test("a reference that takes all of the policy after each step leaves no margin (DPO) and no divergence (GRPO, KTO)", async () => {
  const settings = (section: string) => [
    `${section}.sync_ref_model=true`,
    `${section}.ref_model_mixup_alpha=1`,
    `${section}.ref_model_sync_steps=1`,
  ];
  using dpo = await tinyDPO(dpoConfig(), {
    reference: ({ model }, groups) =>
      new FrozenReference(model, groups, null, { alpha: 1, steps: 1 }),
  });
  for (let step = 1; step < 4; step++) {
    const { outcome } = await dpo.update();
    assertAlmostEquals(outcome.metrics!["rewards/margins"], 0, 1e-5);
    dpo.method.afterUpdate(step);
  }
  for (const follows of [true, false]) {
    const more = follows ? settings("grpo") : [];
    using grpo = await tinyGRPO(grpoConfig(["grpo.beta=0.1", ...more]));
    using kto = await tinyKTO(ktoConfig(follows ? settings("dpo") : []));
    let kl = 0, kept = 0;
    for (let step = 0; step < 3; step++) {
      kl = (await grpo.update(step)).metrics!.kl;
      grpo.method.afterUpdate(step + 1);
      kept = Math.abs((await kto.update()).outcome.metrics!["rewards/chosen"]);
      kto.method.afterUpdate(step + 1);
    }
    assertEquals(kl < 1e-6, follows, `GRPO's divergence is ${kl}`);
    assertEquals(kept < 1e-4, follows, `KTO's reward is ${kept}`);
    assertEquals(grpo.method.reference.size > 0, follows);
  }
});

async function hash(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}

Deno.test("a run whose reference follows the policy stops and goes on to the same bytes; its checkpoints hold the reference", async () => {
  const folder = await Deno.makeTempDir();
  const configIn = (name: string, more: readonly string[] = []) =>
    dpoConfig([
      `training.output_dir=${JSON.stringify(`${folder}/${name}`)}`,
      `save.save_model_path=${JSON.stringify(`${folder}/${name}/final_model`)}`,
      "dataset.max_samples=14",
      "training.gradient_accumulation_steps=1",
      "training.max_steps=5",
      "training.save_steps=1",
      "training.save_total_limit=9",
      "training.eval_strategy=no",
      "training.warmup_steps=0",
      "dpo.sync_ref_model=true",
      "dpo.ref_model_mixup_alpha=0.7",
      "dpo.ref_model_sync_steps=2",
      ...more,
    ]);
  try {
    await runDPO(configIn("whole"), { backend: "wasm" });
    await runDPO(configIn("stopped"), {
      backend: "wasm",
      callbacks: [{ onStepEnd: ({ step }) => step === 3 ? "stop" : undefined }],
    });
    const end = await runDPO(configIn("stopped"), { backend: "wasm", resume: "auto" });
    assertEquals([end.status, end.step], ["done", 5]);
    for (
      const file of [
        "final_model/model.safetensors",
        "checkpoint-5/optimizer.safetensors",
        "checkpoint-5/reference.safetensors",
      ]
    ) assertEquals(await hash(`${folder}/stopped/${file}`), await hash(`${folder}/whole/${file}`));
    const at = async (step: number) =>
      new Map(
        [...await readSafetensors(`${folder}/whole/checkpoint-${step}/reference.safetensors`)]
          .map(([name, { data }]) => [name, data as Float32Array]),
      );
    assert(largestDifference(await at(1), await at(2)) > 0, "it moves at step 2");
    assertEquals(largestDifference(await at(2), await at(3)), 0, "and not at step 3");
    await assertRejects(
      () =>
        runDPO(configIn("stopped", ["dpo.sync_ref_model=false", "training.max_steps=6"]), {
          backend: "wasm",
          resume: "auto",
        }),
      CheckpointError,
      "dpo.sync_ref_model was true and is false",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("--dry-run counts a reference that follows the policy", async () => {
  const reference = async (follows: boolean) => {
    const config = dpoConfig([`dpo.sync_ref_model=${follows}`]);
    const { estimate, trained } = await dryRunDPO(config, { backend: "wasm" });
    return estimate.reference / trained;
  };
  // Without it, log-probabilities are kept on disk.
  assertEquals([await reference(true), await reference(false)], [4, 0]);
});

Deno.test("ReferencePolicy refuses to follow a model with adapters, and says why", async () => {
  using run = await tinyDPO(dpoConfig(LORA), { reference: () => null });
  assertThrows(
    () => new ReferencePolicy(run.prepared.model, run.groups, { alpha: 1, steps: 1 }),
    Error,
    "the reference is the model without them",
  );
});
