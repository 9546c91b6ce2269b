import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { addLora, ConfigError, loadDataset, SFTTrainer, VisionLanguageModel } from "../../mod.ts";
import { redQuestions, tinyModel } from "./tiny_model.ts";

async function temporary(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("SFTTrainer trains a model, calls back, evaluates, saves and frees", async () => {
  await temporary(async (folder) => {
    const model = await tinyModel();
    const tensors = tf.memory().numTensors;
    const logged: number[] = [];
    const saved: string[] = [];
    const trainer = new SFTTrainer({
      model,
      trainDataset: await redQuestions(8),
      evalDataset: await redQuestions(4),
      training: {
        output_dir: `${folder}/run`,
        max_steps: 5,
        per_device_train_batch_size: 4,
        lr_mp: 1e-2,
        lr_vision_backbone: 1e-2,
        lr_language_backbone: 1e-2,
        warmup_ratio: 0,
        logging_steps: 1,
        save_strategy: "steps",
        save_steps: 5,
        eval_strategy: "no",
      },
      callbacks: [{
        onLog: ({ loss }) => {
          logged.push(Number(loss));
        },
        onSave: (path) => {
          saved.push(path);
        },
      }],
    });
    const before = (await trainer.evaluate())?.eval_loss ?? NaN;
    const result = await trainer.train();
    const after = (await trainer.evaluate())?.eval_loss ?? NaN;
    assertEquals([result.status, result.step], ["done", 5]);
    assertEquals(logged.length, 5);
    assertEquals(saved, [`${folder}/run/checkpoint-5`]);
    assert(after < before - 0.5, `${before} → ${after}`);
    await trainer[Symbol.asyncDispose]();
    assertEquals(tf.memory().numTensors, tensors);
    for (const name of ["metrics.jsonl", "report.html", "config.resolved.yaml", "checkpoint-5"]) {
      assert(await Deno.stat(`${folder}/run/${name}`).then(() => true), name);
    }
    await model.savePretrained(`${folder}/model`);
    const again = await VisionLanguageModel.fromPretrained(`${folder}/model`);
    assert(again.tokenizer !== null);
    const [original, loaded] = [model, again].map((one) => {
      const { loss } = one.forward({ inputIds: [[5, 6, 7]], labels: [[6, 7, -100]] });
      const [value] = loss!.dataSync();
      loss!.dispose();
      return value;
    });
    assertEquals(loaded, original);
    model.dispose();
    again.dispose();
  });
});

Deno.test("SFTTrainer trains adapters, and resumes as if it had never stopped", async () => {
  await temporary(async (folder) => {
    const losses: number[][] = [];
    for (const stops of [[6], [3, 6]]) {
      const model = await tinyModel();
      const { loraConfig } = await addLora(model, { r: 4, lora_dropout: 0.1 }, 1);
      const run: number[] = [];
      for (const [part, maxSteps] of stops.entries()) {
        await using trainer = new SFTTrainer({
          model,
          loraConfig,
          trainDataset: await redQuestions(8),
          training: {
            output_dir: `${folder}/${stops.length}`,
            max_steps: 6,
            per_device_train_batch_size: 2,
            lr_lora: 1e-2,
            logging_steps: 1,
            save_strategy: "steps",
            save_steps: 3,
          },
          callbacks: [{
            onLog: ({ loss }) => {
              run.push(Number(loss));
            },
            onStepEnd: ({ step }) => step === maxSteps ? "stop" : undefined,
          }],
        });
        await trainer.train(part === 0 ? {} : { resume: "auto" });
      }
      losses.push(run);
      assert(
        await Deno.stat(`${folder}/${stops.length}/checkpoint-6/adapter_model.safetensors`)
          .then(() => true),
      );
      model.dispose();
    }
    assertEquals(losses[1], losses[0]);
  });
});

Deno.test("SFTTrainer refuses unknown keys and models without a tokenizer", async () => {
  const model = await tinyModel();
  const trainDataset = await redQuestions(2);
  assertThrows(
    () => new SFTTrainer({ model, trainDataset, training: JSON.parse('{ "max_stesp": 5 }') }),
    ConfigError,
    "did you mean max_steps",
  );
  model.tokenizer = null;
  assertThrows(() => new SFTTrainer({ model, trainDataset }), Error, "no tokenizer");
  model.dispose();
});

Deno.test("SFTTrainer computes in the run's precision, and gives the model back as it was", async () => {
  await temporary(async (folder) => {
    const model = await tinyModel();
    const seen: string[] = [];
    const trainer = new SFTTrainer({
      model,
      trainDataset: await redQuestions(4),
      evalDataset: await redQuestions(4),
      training: {
        output_dir: `${folder}/run`,
        max_steps: 2,
        per_device_train_batch_size: 4,
        lr_mp: 1e-2,
        bf16: true,
        save_strategy: "no",
        eval_strategy: "no",
      },
      callbacks: [{ onStepEnd: () => void seen.push(model.precision) }],
    });
    const inBf16 = await trainer.evaluate();
    await trainer.train();
    assertEquals(seen, ["bf16", "bf16"]);
    assertEquals(model.precision, "float32");
    // The report of the library has what that of the command line has.
    const report = await Deno.readTextFile(`${folder}/run/report.html`);
    for (const wanted of ["<dt>parameters</dt>", "training.bf16: values are rounded", "decoder"]) {
      assertStringIncludes(report.slice(report.indexOf("<body>")), wanted);
    }
    await trainer[Symbol.asyncDispose]();
    assert(Number.isFinite(inBf16?.eval_loss));
    model.dispose();
  });
});

Deno.test("a run that fails before its first step leaves the earlier run in its place", async () => {
  await temporary(async (folder) => {
    const model = await tinyModel();
    const trainDataset = await redQuestions(4);
    const training = {
      output_dir: `${folder}/run`,
      max_steps: 1,
      per_device_train_batch_size: 4,
      save_strategy: "no",
      eval_strategy: "no",
    } as const;
    {
      await using trainer = new SFTTrainer({ model, trainDataset, training });
      await trainer.train();
    }
    await Deno.writeTextFile(
      `${folder}/rows.jsonl`,
      JSON.stringify({ texts: [{ user: "Which colour?", assistant: "red" }] }),
    );
    // The number of steps is not known, which shows when everything else is set up.
    await using trainer = new SFTTrainer({
      model,
      trainDataset: await loadDataset({
        path: `${folder}/rows.jsonl`,
        format: "vqa",
        streaming: true,
      }),
      training: { ...training, max_steps: -1 },
    });
    await assertRejects(() => trainer.train(), Error, "set training.max_steps");
    await Deno.remove(`${folder}/rows.jsonl`);
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assertEquals(names, ["run"]);
    assert(await Deno.stat(`${folder}/run/metrics.jsonl`).then(() => true));
    model.dispose();
  });
});

Deno.test("a run that meets a bad weight names it, though nothing trains it", async () => {
  await temporary(async (folder) => {
    const model = await tinyModel();
    const name = "decoder.blocks.0.mlp.up_proj.weight";
    const weight = model.weights.get(name) as tf.Variable;
    weight.assign(tf.fill(weight.shape, NaN));
    await using trainer = new SFTTrainer({
      model,
      trainDataset: await redQuestions(4),
      training: {
        output_dir: `${folder}/run`,
        max_steps: 1,
        per_device_train_batch_size: 4,
        lr_vision_backbone: 0,
        lr_language_backbone: 0,
        save_strategy: "no",
        eval_strategy: "no",
      },
    });
    await assertRejects(() => trainer.train(), Error, name);
    model.dispose();
  });
});
