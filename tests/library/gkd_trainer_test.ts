import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  ConfigError,
  datasetFromRows,
  embeddedShapes,
  GKDTrainer,
  initBackend,
  shapesVqaRows,
  starterModel,
} from "../../mod.ts";

Deno.test(
  "GKDTrainer distils a given teacher into a given student, and both stay the caller's",
  { sanitizeOps: false, sanitizeResources: false },
  async () => {
    await initBackend({ backend: "wasm" });
    const own = await starterModel({ steps: 2, seed: 1 });
    const other = await starterModel({ steps: 12, seed: 2 });
    for (const { model, tokenizer, imageProcessor } of [own, other]) {
      Object.assign(model, { tokenizer, imageProcessor });
    }
    const dir = await Deno.makeTempDir();
    const drawn = embeddedShapes({ trainPictures: 8, testPictures: 4 });
    const data = async (which: "train" | "test") =>
      await datasetFromRows(shapesVqaRows(drawn[which]), { format: "vqa", splitTurns: true });
    const options = {
      model: own.model,
      teacher: other.model,
      trainDataset: await data("train"),
      evalDataset: await data("test"),
      training: {
        output_dir: `${dir}/run`,
        max_steps: 12,
        per_device_train_batch_size: 8,
        learning_rate: 5e-3,
        lr_mp: 5e-3,
        warmup_ratio: 0,
        eval_strategy: "no" as const,
      },
      gkd: { lmbda: 0.5, beta: 0.5, max_new_tokens: 6 },
    };
    try {
      {
        await using trainer = new GKDTrainer(options);
        const before = (await trainer.evaluate())!.eval_loss;
        const { status, step } = await trainer.train();
        assertEquals([status, step], ["done", 12]);
        const after = (await trainer.evaluate())!.eval_loss;
        assert(after < before, `${before} to ${after}`);
      }
      assert(own.model.weights.size > 0 && other.model.weights.size > 0);
      assert(![...other.model.weights.values()].some(({ isDisposed }) => isDisposed));
      assertThrows(() => new GKDTrainer({ ...options, gkd: { lmbda: 2 } }), ConfigError, "lmbda");
      other.model.tokenizer = null;
      assertThrows(() => new GKDTrainer(options), Error, "the teacher has no tokenizer");
    } finally {
      own.model.dispose();
      other.model.dispose();
      await Deno.remove(dir, { recursive: true });
    }
  },
);
