import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { toModelBatch } from "../../../src/model/batch.ts";
import { ReferencePolicy } from "../../../src/train/loop/reference_policy.ts";
import { grpoGroups } from "../../../src/train/grpo/setup.ts";
import { tinyConfig, tinyRun } from "./tiny_grpo.ts";

const LORA = [
  "model.use_lora=true",
  "training.lr_lora=1e-2",
  "training.lr_vision_backbone=1e-3",
  "training.lr_mp=1e-3",
];

for (const lora of [false, true]) {
  const what = lora ? "adapters, with projector and vision encoder trained" : "a whole model";
  Deno.test(`ReferencePolicy is the model as it was: ${what}`, async () => {
    const config = tinyConfig(LORA.slice(1));
    const { model } = config;
    using run = await tinyRun({
      ...config,
      model: {
        ...model,
        use_lora: lora,
        lora_config: {
          ...model.lora_config,
          target_modules: ["decoder.blocks.0.attn.q_proj", "decoder.blocks.0.attn.v_proj"],
        },
      },
    });
    const vlm = run.prepared.model;
    const batch = toModelBatch({ inputIds: [[5, 6, 7, 8]], labels: [[6, 7, 8, 9]] }, vlm.config);
    const read = async (pass: () => tf.Tensor) => {
      const tensor = tf.tidy(pass);
      const [values] = await readBack([tensor]);
      tensor.dispose();
      return values;
    };
    const before = await read(() => vlm.labelLogProbs(batch)!);
    const reference = new ReferencePolicy(vlm, grpoGroups(run.prepared, config));
    for (let step = 0; step < 2; step++) await run.update(step);
    const after = await read(() => vlm.labelLogProbs(batch)!);
    assert(after.some((value, i) => Math.abs(value - before[i]) > 1e-3), "the model has moved");
    const asItWas = await read(() =>
      reference.run((options) => vlm.labelLogProbs(batch, options)!)
    );
    assertEquals([...asItWas], [...before]);
    assertEquals([...await read(() => vlm.labelLogProbs(batch)!)], [...after], "it is put back");
    await run.update(2);
    const again = await read(() => reference.run((options) => vlm.labelLogProbs(batch, options)!));
    assertEquals([...again], [...before], "later updates leave the kept values alone");
    reference.dispose();
    batch.dispose();
  });
}

Deno.test("live tensors return to where they were after a step", async () => {
  using run = await tinyRun(
    tinyConfig(["grpo.beta=0.1", "grpo.num_iterations=2", "grpo.top_entropy_quantile=0.5"]),
  );
  const settle = async (step: number) => {
    const { losses } = await run.update(step);
    tf.dispose(losses);
    return tf.memory().numTensors;
  };
  await settle(0);
  const before = await settle(1);
  for (let step = 2; step < 5; step++) assertEquals(await settle(step), before);
  await run.method.evaluate();
  assertEquals(tf.memory().numTensors, before);
});
