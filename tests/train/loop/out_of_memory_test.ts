/** A pass that runs out of memory leaves nothing on the device, so that a smaller one may follow. */
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { generateFromRows } from "../../../src/generate/engine.ts";
import { batchRows, packBranches } from "../../../src/model/branches.ts";
import type { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import type { Precision } from "../../../src/ops/half/precision.ts";
import { addLora } from "../../../src/train/run/add_lora.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { policyGradients, tokenEntropies } from "../../../src/train/grpo/policy.ts";
import { DropoutKeys } from "../../../src/ops/activations.ts";
import { assertFreesOnFailure } from "../../device/failing_malloc.ts";
import { IMAGE, picture, prompt, tinyModel } from "../../generate/tiny_model.ts";

const head = prompt(1, 3, true);
const images = [picture(1)];
/** Two sequences that share one picture. */
const row = packBranches(
  [[5, 6, 7], [8, 9]].map((branch) => {
    const inputIds = [...head, ...branch];
    return { inputIds, labels: inputIds.map((id, i) => i < head.length ? -100 : id) };
  }),
  images,
  IMAGE,
)!;

function adapterParameters(model: VisionLanguageModel): Map<string, tf.Variable> {
  return new Map(
    [...model.adapters].flatMap(([layer, { loraA, loraB }]) => [
      [`${layer}.A`, loraA as tf.Variable],
      [`${layer}.B`, loraB as tf.Variable],
    ]),
  );
}

/** A batch for as long as `use` takes. */
async function withBatch(
  model: VisionLanguageModel,
  use: (batch: ReturnType<typeof batchRows>) => void | Promise<void>,
): Promise<void> {
  const batch = batchRows([row, row], 0, model.config);
  try {
    await use(batch);
  } finally {
    batch.dispose();
  }
}

for (
  const [name, { lora, checkpointing, precision }] of Object.entries({
    "of all weights": { lora: false, checkpointing: false, precision: "float32" },
    "of adapters, with dropout and checkpointing": {
      ...{ lora: true, checkpointing: true, precision: "float32" },
    },
    "of all weights, in bf16": { lora: false, checkpointing: false, precision: "bf16" },
  })
) {
  Deno.test(`a step ${name} that runs out of memory leaves no tensors, in whichever allocation it does`, async () => {
    await initBackend({ backend: "wasm" });
    const model = tinyModel();
    model.precision = precision as Precision;
    if (lora) await addLora(model, { r: 2, lora_dropout: 0.2 });
    const parameters = lora ? adapterParameters(model) : model.weights;
    const accumulator = new GradientAccumulator();
    await assertFreesOnFailure(() =>
      withBatch(model, async (batch) => {
        const pass = { dropoutKeys: new DropoutKeys(1, 0), checkpointing };
        try {
          // Twice: the second adds to gradients that there are.
          for (let i = 0; i < 2; i++) {
            const loss = await accumulator.addLoss(
              () => model.labelLogProbs(batch, pass)!.sum() as tf.Scalar,
              parameters,
            );
            loss.dispose();
          }
        } finally {
          accumulator.reset();
        }
      })
    );
    model.dispose();
  });
}

Deno.test("GRPO's gradients that run out of memory leave no states", async () => {
  await initBackend({ backend: "wasm" });
  const model = tinyModel();
  const accumulator = new GradientAccumulator();
  const loss = (logProbs: Float32Array) => ({ loss: 1, gradient: logProbs.map(() => 1) });
  await assertFreesOnFailure(() =>
    withBatch(model, async (batch) => {
      const pass = { batch, options: {}, features: undefined, temperature: 1 };
      try {
        const outcome = await policyGradients(
          ...[model, pass, model.weights, loss, null, accumulator] as const,
        );
        try {
          tokenEntropies(model, outcome.states, 1).dispose();
        } finally {
          tf.dispose([outcome.loss, outcome.states]);
        }
      } finally {
        accumulator.reset();
      }
    }), 150);
  model.dispose();
});

Deno.test("a generation that runs out of memory leaves no tensors, in whichever allocation it does", async () => {
  await initBackend({ backend: "wasm" });
  const model = tinyModel();
  const rows = [
    { images, prompts: [[...head, 5, 6, 7], [...head, 8]] },
    { images: [], prompts: [prompt(2, 5, false)] },
  ];
  await assertFreesOnFailure(async () => {
    await generateFromRows(model, rows, 0, {
      maxNewTokens: 40,
      stopTokenIds: [3, 4, 13, 17, 23],
      numReturnSequences: 2,
      seed: 11,
    });
  }, 250);
  model.dispose();
});
