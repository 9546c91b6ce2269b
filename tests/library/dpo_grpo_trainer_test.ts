import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type ConfigError,
  datasetFromRows,
  DPOTrainer,
  embeddedShapes,
  GRPOTrainer,
  initBackend,
  shapesGrpoRows,
  shapesPreferenceRows,
  starterModel,
  type VisionLanguageModel,
} from "../../mod.ts";

const drawn = embeddedShapes({ trainPictures: 8, testPictures: 4 }).train;
const pairs = () => datasetFromRows(shapesPreferenceRows(drawn), { format: "preference" });
const prompts = () => datasetFromRows(shapesGrpoRows(drawn), { format: "grpo" });

/** A tiny model and an empty folder, for as long as a test takes. */
async function withModel(
  work: (model: VisionLanguageModel, dir: string) => Promise<void>,
): Promise<void> {
  await initBackend({ backend: "wasm" });
  const { model, tokenizer, imageProcessor } = await starterModel({ steps: 2 });
  Object.assign(model, { tokenizer, imageProcessor });
  const dir = await Deno.makeTempDir();
  try {
    await work(model, dir);
  } finally {
    model.dispose();
    await Deno.remove(dir, { recursive: true });
  }
}

const options = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "DPOTrainer with a learning rate that is far too high says that the loss explodes",
  options,
  () =>
    withModel(async (model, dir) => {
      await using trainer = new DPOTrainer({
        model,
        trainDataset: await pairs(),
        training: {
          output_dir: `${dir}/run`,
          max_steps: 12,
          per_device_train_batch_size: 8,
          learning_rate: 3,
          lr_scheduler_type: "constant",
          max_grad_norm: 0,
          warmup_ratio: 0,
          logging_steps: 1,
          eval_strategy: "no",
          save_strategy: "no",
        },
      });
      assertEquals((await trainer.train()).status, "done");
      const records = await Deno.readTextFile(`${dir}/run/metrics.jsonl`);
      assertStringIncludes(records, '"concerns":"loss_exploding"');
      const report = await Deno.readTextFile(`${dir}/run/report.html`);
      assert(report.includes("! finished, with doubts"), "the report says done");
    }),
);

Deno.test(
  "DPOTrainer measures against the model as it was, and leaves the model to its owner",
  options,
  () =>
    withModel(async (model, dir) => {
      const trainDataset = await pairs();
      const steps: number[] = [];
      await using trainer = new DPOTrainer({
        model,
        trainDataset,
        evalDataset: trainDataset,
        training: {
          output_dir: `${dir}/run`,
          max_steps: 6,
          per_device_train_batch_size: 24,
          learning_rate: 2e-3,
          warmup_steps: 0,
          logging_steps: 1,
          eval_strategy: "no",
          save_strategy: "no",
        },
        callbacks: [{ onLog: ({ step }) => void steps.push(step) }],
      });
      const before = await trainer.evaluate();
      assertEquals(before?.["eval_rewards/margins"], 0);
      const { status, step } = await trainer.train();
      assertEquals([status, step], ["done", 6]);
      assertEquals(steps, [1, 2, 3, 4, 5, 6]);
      const after = await trainer.evaluate();
      assert(after!["eval_rewards/margins"] > 0.01, `margin ${after!["eval_rewards/margins"]}`);
      assert(after!.eval_loss < before!.eval_loss);
      assertEquals(
        (await Deno.readTextFile(`${dir}/run/metrics.jsonl`)).trim().split("\n").length,
        6,
      );
      assert(
        (await model.generate({ prompt: "Name the color." }, { maxNewTokens: 2 })).length === 1,
      );
    }),
);

Deno.test(
  "GRPOTrainer scores completions in the sandbox and keeps them all",
  options,
  () =>
    withModel(async (model, dir) => {
      await Deno.writeTextFile(
        `${dir}/own.ts`,
        "export const short = ({ completions }) => completions.map((text) => -text.length);\n",
      );
      const rewards: number[] = [];
      await using trainer = new GRPOTrainer({
        model,
        trainDataset: await prompts(),
        rewardFunctions: [`${dir}/own.ts`],
        training: {
          output_dir: `${dir}/run`,
          max_steps: 2,
          per_device_train_batch_size: 3,
          gradient_accumulation_steps: 1,
          learning_rate: 1e-3,
          logging_steps: 1,
          eval_strategy: "no",
          save_strategy: "steps",
          save_steps: 2,
        },
        grpo: { num_generations: 4, max_completion_length: 6, max_prompt_length: 64, beta: 0 },
        callbacks: [{ onLog: (record) => void rewards.push(Number(record["rewards/short/mean"])) }],
      });
      assertEquals(await trainer.evaluate(), null, "there is nothing held out");
      assertEquals((await trainer.train()).step, 2);
      assertEquals(rewards.length, 2);
      assert(rewards.every((reward) => reward < 0), `${rewards}`);
      const completions = await Deno.readTextFile(`${dir}/run/completions.jsonl`);
      assertEquals(completions.trim().split("\n").length, 2 * 3 * 4);
      assert((await Deno.stat(`${dir}/run/checkpoint-2/model.safetensors`)).isFile);
    }),
);

Deno.test(
  "trainers name a misspelt key, and a model without its tokenizer",
  options,
  () =>
    withModel(async (model) => {
      const trainDataset = await pairs();
      const dpo = { beta: 0.1, bta: 0.2 };
      const error = assertThrows(() => new DPOTrainer({ model, trainDataset, dpo })) as ConfigError;
      assert(error.message.includes("bta") && error.message.includes("beta"), error.message);
      const { tokenizer } = model;
      model.tokenizer = null;
      assertThrows(() => new DPOTrainer({ model, trainDataset }), Error, "tokenizer");
      model.tokenizer = tokenizer;
      await using trainer = new GRPOTrainer({
        model,
        trainDataset: await prompts(),
        rewardFunctions: ["no_such_module.ts"],
        training: { max_steps: 1 },
      });
      await assertRejects(() => trainer.train(), Error, "no_such_module.ts");
    }),
);
