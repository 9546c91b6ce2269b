/** Runs that fail on their way: output folders, values that are not finite, checkpoints. */
import { assert, assertEquals } from "@std/assert";
import { readSafetensors } from "../../src/model/safetensors/safetensors.ts";
import { checkpointProblem } from "../../src/train/checkpoint/checkpoint_folder.ts";
import { startFakeHub } from "../hub/fake_hub.ts";
import { onReadOnlyDisk, onSmallDisk, whyNoDisk } from "../report/files/small_disk.ts";
import {
  assertFails,
  assertNothingHalfWritten,
  CommandLine,
  pathsBelow,
  tinyTraining,
} from "./command_line.ts";

async function withRoot(use: (root: string, cli: CommandLine) => Promise<void>): Promise<void> {
  const root = await Deno.makeTempDir({ prefix: "run faults " });
  try {
    await using cli = new CommandLine();
    await use(root, cli);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const hash = async (path: string): Promise<string> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();

Deno.test("an output folder that cannot be used exits with 1 and leaves it as it was", async (t) => {
  await withRoot(async (root, cli) => {
    await t.step("a file of that name", async () => {
      await Deno.writeTextFile(`${root}/file`, "mine");
      for (const output of [`${root}/file`, `${root}/file/below`]) {
        assertFails(
          await cli.run(tinyTraining(output)),
          1,
          output,
          "a file of that name is in the way",
        );
      }
      assertEquals(await Deno.readTextFile(`${root}/file`), "mine");
    });
    const ignore = whyNoDisk !== null;
    const why = ignore ? ` (skipped: ${whyNoDisk})` : "";
    await t.step({
      name: `a read-only file system${why}`,
      ignore,
      fn: async () => {
        await onReadOnlyDisk(async (disk) => {
          const outcome = await cli.run(tinyTraining(`${disk}/out`));
          assertFails(outcome, 1, `${disk}/out`, "read-only", "training.output_dir");
        });
      },
    });
    await t.step({
      name: `a disk too small for the first checkpoint${why}`,
      ignore,
      fn: async () => {
        await onSmallDisk(async (disk) => {
          const outcome = await cli.run(tinyTraining(`${disk}/out`, ["training.save_steps=1"]));
          assertFails(outcome, 1, `${disk}/out/checkpoint-1: no space is left on its disk`);
          assertNothingHalfWritten(`${disk}/out`);
        }, "2m");
      },
    });
    await t.step({
      name: `a disk that fills up at the second checkpoint keeps the first${why}`,
      ignore,
      fn: async () => {
        await onSmallDisk(async (disk) => {
          const outcome = await cli.run(tinyTraining(`${disk}/out`, ["training.save_steps=1"]));
          assertFails(outcome, 1, `${disk}/out/checkpoint-2: no space is left on its disk`);
          assertEquals(await checkpointProblem(`${disk}/out/checkpoint-1`), null);
          const folders = new Set(pathsBelow(`${disk}/out`).map((path) => path.split("/")[0]));
          assert(!folders.has("checkpoint-2") && !folders.has("final_model"), [...folders].join());
          assert(![...folders].some((name) => name.startsWith(".")), [...folders].join());
        }, "5m");
      },
    });
    await t.step("a run that cannot start leaves an earlier run in its place", async () => {
      const output = `${root}/kept`;
      assertEquals((await cli.run(tinyTraining(output, ["training.max_steps=1"]))).code, 0);
      const before = pathsBelow(output);
      await Deno.mkdir(`${root}/no data`);
      const outcome = await cli.run(
        tinyTraining(output, [`dataset.train_data_path=${root}/no data`]),
      );
      assertFails(outcome, 1, "no data: the folder has no .parquet");
      assertEquals(pathsBelow(output), before);
      assertEquals(pathsBelow(`${output}-1`), []);
    });
  });
});

Deno.test("a loss or weight that is not finite stops the run, names step and tensor, keeps checkpoint and batch", async (t) => {
  await withRoot(async (root, cli) => {
    const model = `${root}/model`;
    await t.step("a learning rate that is far too high", async () => {
      const output = `${root}/high`;
      const rates = ["learning_rate", "lr_mp", "lr_vision_backbone", "lr_language_backbone"];
      const outcome = await cli.run(tinyTraining(output, [
        ...rates.map((name) => `training.${name}=1e30`),
        "training.warmup_steps=0",
        "training.max_steps=6",
        "training.save_steps=1",
        `save.save_model_path=${model}`,
      ]));
      assertFails(
        outcome,
        1,
        /Training stopped at step \d: .*the (weight|gradient) of? ?\S+ is (NaN|-?Infinity) at element \d+/,
        /the last good checkpoint is .*\/high\/checkpoint-\d\./,
        "Lower the learning rate",
      );
      const [, step, kept] = /at step (\d).*checkpoint-(\d)\./.exec(outcome.stderr) ?? [];
      assertEquals(Number(kept), Number(step) - 1);
      const checkpoint = `${output}/checkpoint-${kept}`;
      assertEquals(await checkpointProblem(checkpoint), null);
      for (const { data } of (await readSafetensors(`${checkpoint}/model.safetensors`)).values()) {
        assert(data instanceof Float32Array && data.every(Number.isFinite));
      }
      const batch = JSON.parse(await Deno.readTextFile(`${output}/nonfinite-step-${step}.json`));
      assertEquals(batch.step, Number(step));
      assertEquals(batch.batch[0].length, 4);
      assert(batch.batch[0][0].inputIds.length > 0);
      assertEquals(pathsBelow(model), []);
    });
    await t.step("a rate so high that the first update leaves no finite weight", async () => {
      const output = `${root}/higher`;
      const outcome = await cli.run(tinyTraining(output, [
        "training.learning_rate=1e38",
        "training.lr_language_backbone=1e38",
        "training.weight_decay=10",
        "training.warmup_steps=0",
        "training.warmup_ratio=0",
        "training.max_steps=1",
        "training.save_strategy=no",
      ]));
      assertFails(
        outcome,
        1,
        /Training stopped at step 1: the weight \S+ is .*after its update/,
        "Lower the",
      );
      assertNothingHalfWritten(output);
    });
    await t.step("a model that has a NaN", async () => {
      const made = tinyTraining(`${root}/made`, [
        "training.max_steps=1",
        `save.save_model_path=${model}`,
      ]);
      assertEquals((await cli.run(made)).code, 0);
      const bytes = await Deno.readFile(`${model}/model.safetensors`);
      const view = new DataView(bytes.buffer);
      const length = Number(view.getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
      const name = "vision_encoder.blocks.1.mlp.fc1.weight";
      view.setFloat32(8 + length + header[name].data_offsets[0] + 4 * 7, NaN, true);
      await Deno.writeFile(`${model}/model.safetensors`, bytes);
      const output = `${root}/nan`;
      const outcome = await cli.run(tinyTraining(output, [
        `model.model_name_or_path=${model}`,
        "training.lr_vision_backbone=0",
      ]));
      assertFails(
        outcome,
        1,
        `Training stopped at step 1: the weight ${name} is NaN at element 7`,
        "there is no checkpoint yet",
        "get the model again",
      );
      assertNothingHalfWritten(output);
    });
  });
});

Deno.test("--resume takes whole checkpoints of the same config alone", async (t) => {
  await withRoot(async (root, cli) => {
    const output = `${root}/out`;
    const settings = ["training.save_steps=1", "training.max_steps=3"];
    const resume = (more: string[] = [], from = "--resume") =>
      cli.run(tinyTraining(output, [...settings, ...more], [from]));
    const made = await cli.run(tinyTraining(output, settings));
    assertEquals(made.code, 0, made.stderr);
    const whole = await hash(`${output}/final_model/model.safetensors`);
    const metrics = await Deno.readTextFile(`${output}/metrics.jsonl`);

    await t.step("another config: what does not fit is named, and the old run stays", async () => {
      const wider = ["model.vlm_config.lm_inter_dim=128"];
      assertFails(await resume(wider), 1, "checkpoint-3", "[192,64]", "[128,64]");
      assertFails(await resume(["model.use_lora=true"]), 1, "lora_", "another config");
      assertEquals(await Deno.readTextFile(`${output}/metrics.jsonl`), metrics);
      const hidden = pathsBelow(output).filter((path) => path.startsWith("."));
      assertEquals(hidden, []);
    });
    await t.step(
      "another training type: refused before anything is loaded or written",
      async () => {
        const before = pathsBelow(root);
        for (const trainer of ["grpo", "dpo"]) {
          for (const from of ["--resume", `--resume=${output}/checkpoint-2`]) {
            const outcome = await cli.run(["train", trainer, `--output-dir=${output}`, from]);
            assertFails(outcome, 1, `Cannot resume ${trainer} from ${output}`, "of a run of sft");
          }
        }
        assertEquals(pathsBelow(root), before);
      },
    );
    await t.step("another seed or other data: refused, unless asked to go on", async () => {
      assertFails(await resume(["training.seed=1"]), 1, "training.seed was 42", "--resume-anyway");
      assertFails(
        await resume(["dataset.max_samples=39"]),
        1,
        "the data was builtin:shapes train (120 examples) and is builtin:shapes train (117 examples)",
      );
      assertEquals(await Deno.readTextFile(`${output}/metrics.jsonl`), metrics);
      const copy = `${root}/copy`;
      await Deno.mkdir(copy);
      const outcome = await cli.run(tinyTraining(copy, [
        ...settings,
        "training.seed=1",
      ], [`--resume=${output}/checkpoint-2`, "--resume-anyway"]));
      assertEquals(outcome.code, 0, outcome.stderr);
      assert(/warning: .*anyway: training.seed was 42 and is 1/.test(outcome.stderr));
    });
    await t.step("a torn checkpoint by name is refused", async () => {
      await Deno.truncate(`${output}/checkpoint-3/optimizer.safetensors`, 1000);
      const torn = `${output}/checkpoint-3`;
      const outcome = await resume([], `--resume=${torn}`);
      assertFails(outcome, 1, torn, "optimizer.safetensors has 1000 bytes", "were written");
    });
    await t.step(
      "a torn newest one is skipped with a warning, and its steps are done again",
      async () => {
        await Deno.remove(`${output}/final_model`, { recursive: true });
        const { code, stderr } = await resume();
        assertEquals(code, 0, stderr);
        assert(
          /warning: .*checkpoint-3 is left out: optimizer\.safetensors has 1000 bytes/.test(stderr),
          stderr,
        );
        assertEquals(await hash(`${output}/final_model/model.safetensors`), whole);
        assertEquals(await checkpointProblem(`${output}/checkpoint-3`), null);
      },
    );
    await t.step("a folder with no checkpoint starts a new run, and says so", async () => {
      const args = tinyTraining(`${root}/new`, ["training.max_steps=1"], ["--resume"]);
      const { code, stderr } = await cli.run(args);
      assertEquals(code, 0, stderr);
      assert(stderr.includes(`${root}/new has no checkpoint to resume from`), stderr);
    });
  });
});

Deno.test("what a run will not do is said before it starts, or once", async (t) => {
  await withRoot(async (root, cli) => {
    await t.step("precision and GPUs", async () => {
      const settings = ["training.bf16=true", "training.n_gpu=4", "training.max_steps=1"];
      const { code, stderr } = await cli.run(tinyTraining(`${root}/bf16`, settings));
      assertEquals(code, 0, stderr);
      assertEquals(stderr.split("rounded to bfloat16").length, 2, stderr);
      assertEquals(stderr.split("training.n_gpu: got 4").length, 2, stderr);
    });
    await t.step("a push with no token", async () => {
      const output = `${root}/push`;
      const settings = ["save.push_to_hub=true", "save.hub_model_id=me/mine"];
      const outcome = await cli.run(tinyTraining(output, settings), {
        HF_TOKEN: "",
        HF_HOME: `${root}/hub`,
      });
      assertFails(outcome, 1, "to me/mine: there is no token; set HF_TOKEN");
      assertEquals(pathsBelow(output), []);
    });
    await t.step(
      "a push that the Hub takes, and one that it refuses: the model stays on disk",
      async () => {
        const hub = startFakeHub({ token: "hf_write" });
        try {
          const settings = ["save.push_to_hub=true", "save.hub_model_id=me/mine"];
          const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: `${root}/hub` };
          const refused = await cli.run(tinyTraining(`${root}/refused`, settings), {
            ...env,
            HF_TOKEN: "hf_read",
          });
          assertFails(refused, 1, "needs write access", `is whole in ${root}/refused/final_model`);
          assert(pathsBelow(`${root}/refused/final_model`).includes("model.safetensors"));
          const { code, stderr } = await cli.run(tinyTraining(`${root}/pushed`, settings), {
            ...env,
            HF_TOKEN: "hf_write",
          });
          assertEquals(code, 0, stderr);
          const files = hub.files("models", "me/mine");
          assertEquals([...files.keys()].toSorted(), pathsBelow(`${root}/pushed/final_model`));
          const saved = await Deno.readFile(`${root}/pushed/final_model/model.safetensors`);
          assertEquals(files.get("model.safetensors"), saved);
          const card = new TextDecoder().decode(files.get("README.md"));
          assert(card.includes("# mine") && !card.includes(root), card);
        } finally {
          await hub.close();
        }
      },
    );
    await t.step("nothing to train", async () => {
      const rates = ["lr_mp", "lr_vision_backbone", "lr_language_backbone"];
      const output = `${root}/frozen`;
      const outcome = await cli.run(
        tinyTraining(output, rates.map((name) => `training.${name}=0`)),
      );
      assertFails(outcome, 2, "every learning rate is 0; set lr_mp");
      assertEquals(pathsBelow(output), []);
    });
    await t.step("the best checkpoint by a metric that no evaluation gives", async () => {
      const output = `${root}/best`;
      const outcome = await cli.run(tinyTraining(output, [
        "training.eval_strategy=steps",
        "training.eval_steps=1",
        "training.save_steps=1",
        "training.load_best_model_at_end=true",
        "training.metric_for_best_model=accuracy",
      ]));
      assertFails(outcome, 1, "metric_for_best_model is accuracy, an evaluation gives eval_loss");
    });
  });
});
