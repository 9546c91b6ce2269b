/** What the notebooks do, with a SmolVLM that Transformers saved. */
import { assert, assertEquals } from "@std/assert";
import { evaluateVqa, initBackend, SFTTrainer, VisionLanguageModel } from "../../mod.ts";
import { fixtureTest } from "../parity/shared_fixtures.ts";
import { redQuestions } from "./tiny_model.ts";

fixtureTest(
  "SFTTrainer trains a SmolVLM, which answers, is measured, saved and loaded again",
  async (directory) => {
    await initBackend({ backend: "wasm" });
    const folder = await Deno.makeTempDir();
    const model = await VisionLanguageModel.fromPretrained(`${directory}/smolvlm/smolvlm`);
    try {
      const trainDataset = await redQuestions(8);
      const losses: number[] = [];
      await using trainer = new SFTTrainer({
        model,
        trainDataset,
        training: {
          output_dir: `${folder}/run`,
          max_steps: 6,
          per_device_train_batch_size: 4,
          learning_rate: 3e-3,
          lr_language_backbone: 3e-3,
          logging_steps: 1,
        },
        callbacks: [{ onLog: ({ loss }) => void losses.push(Number(loss)) }],
      });
      await trainer.train();
      assert(losses[5] < losses[0] - 0.1, `losses ${losses}`);
      const tokenizer = model.tokenizer!, imageProcessor = model.imageProcessor!;
      const { questions } = await evaluateVqa({ model, tokenizer, imageProcessor }, trainDataset, {
        maxNewTokens: 2,
      });
      assertEquals(questions, 8);
      await model.savePretrained(`${folder}/model`);
      const copy = await VisionLanguageModel.fromPretrained(`${folder}/model`);
      const { images: [picture], turns } = await trainDataset.get(0);
      const [original, reloaded] = await Promise.all(
        [model, copy].map((one) =>
          one.generate({ prompt: turns[0].user, images: [picture.bytes] }, {
            greedy: true,
            maxNewTokens: 4,
          })
        ),
      );
      assertEquals(reloaded[0].tokens, original[0].tokens);
      copy.dispose();
    } finally {
      model.dispose();
      await Deno.remove(folder, { recursive: true });
    }
  },
);
