import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { readSafetensors, writeSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { dryRunLines } from "../../../src/train/dry_run/report.ts";
import { dryRunGKD } from "../../../src/train/gkd/dry_run.ts";
import { modelBytes } from "../../../src/train/dry_run/step_memory_options.ts";
import { runGKD } from "../../../src/train/gkd/run.ts";
import { Teacher } from "../../../src/train/gkd/teacher.ts";
import { prepareModel, writePreparedModel } from "../../../src/train/run/prepare_model.ts";
import { starterModel } from "../../../src/train/sft/starter.ts";
import { LORA } from "../dpo/tiny_dpo.ts";
import { tinyConfig } from "./tiny_gkd.ts";

function configIn(folder: string, name: string, overrides: readonly string[] = []): ResolvedConfig {
  return tinyConfig([
    `training.output_dir=${JSON.stringify(`${folder}/${name}`)}`,
    `save.save_model_path=${JSON.stringify(`${folder}/${name}/final_model`)}`,
    `gkd.teacher_model_name_or_path=${JSON.stringify(`${folder}/teacher`)}`,
    "dataset.max_samples=14",
    "training.gradient_accumulation_steps=2",
    "training.max_steps=6",
    "training.save_steps=2",
    "training.eval_steps=3",
    "training.logging_steps=1",
    "training.warmup_steps=0",
    ...overrides,
  ]);
}

const LORA_BF16 = [...LORA, "training.bf16=true", "gkd.disable_dropout=false"];

/** A folder with a teacher that has seen the drawn shapes, for as long as a test takes. */
async function withTeacher(work: (folder: string) => Promise<void>): Promise<void> {
  await initBackend({ backend: "wasm" });
  const folder = await Deno.makeTempDir({ prefix: "gkd " });
  const teacher = await starterModel({ steps: 3 });
  try {
    await Deno.mkdir(`${folder}/teacher`);
    await writePreparedModel(teacher, [], `${folder}/teacher`);
    await work(folder);
  } finally {
    teacher.model.dispose();
    await Deno.remove(folder, { recursive: true });
  }
}

async function hash(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}

for (const [what, overrides] of [["the whole model", []], ["LoRA in bf16", LORA_BF16]] as const) {
  Deno.test(`runGKD() of ${what} writes a run, and one that stopped goes on to the same bytes`, () =>
    withTeacher(async (folder) => {
      const done = await runGKD(configIn(folder, "whole", overrides), { backend: "wasm" });
      assertEquals([done.status, done.step], ["done", 6]);
      assert(Number.isFinite(done.evaluation!.eval_loss));
      const first = await runGKD(configIn(folder, "stopped", overrides), {
        backend: "wasm",
        callbacks: [{ onStepEnd: ({ step }) => step === 3 ? "stop" : undefined }],
      });
      assertEquals(first.status, "stopped");
      const second = await runGKD(configIn(folder, "stopped", overrides), {
        backend: "wasm",
        resume: "auto",
      });
      assertEquals([second.status, second.step], ["done", 6]);
      const model = overrides.length > 0 ? "adapter_model" : "model";
      for (
        const file of [`final_model/${model}.safetensors`, "checkpoint-6/optimizer.safetensors"]
      ) {
        assertEquals(
          await hash(`${folder}/stopped/${file}`),
          await hash(`${folder}/whole/${file}`),
        );
      }
      const lines = (await Deno.readTextFile(`${folder}/whole/metrics.jsonl`)).trim().split("\n")
        .map((line) => JSON.parse(line));
      const policies = lines.flatMap(({ on_policy }) => on_policy === undefined ? [] : on_policy);
      assertEquals(policies.length, 6);
      assertEquals(new Set(policies), new Set([0, 1]));
      const report = await Deno.readTextFile(`${folder}/whole/report.html`);
      assert(report.includes("The teacher: Exact match"));
    }));
}

Deno.test("train gkd --dry-run runs answers of full length, counts the teacher, writes nothing", () =>
  withTeacher(async (folder) => {
    const report = await dryRunGKD(
      configIn(folder, "dry", ["gkd.max_new_tokens=9", "training.per_device_train_batch_size=4"]),
      { backend: "wasm" },
    );
    assertEquals(report.batch.rows, 4);
    assert(report.batch.tokens > 4 * (9 + 4), `${report.batch.tokens} tokens`);
    assert(report.gradNorm > 0);
    assert(report.estimate.reference > 2 * report.estimate.weights, "the teacher is larger");
    assert(dryRunLines(report).some((line) => line.includes("examples")));
    const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
    assertEquals(names, ["teacher"]);
  }));

Deno.test("Teacher.load() keeps 16 bits as they are, and refuses a teacher that does not fit", () =>
  withTeacher(async (folder) => {
    const config = tinyConfig();
    const student = await prepareModel(config.model, 1);
    try {
      using teacher = await Teacher.load(`${folder}/teacher`, student);
      assertEquals(teacher.loaded.model.packedWeights.size, 0);
      const file = `${folder}/teacher/model.safetensors`;
      const entries = [...await readSafetensors(file)].map(([name, { shape, data }]) => ({
        name,
        shape: [...shape],
        data: data as Float32Array,
      }));
      await writeSafetensors(file, entries, { dtype: "BF16" });
      using half = await Teacher.load(`${folder}/teacher`, student);
      assert(half.loaded.model.packedWeights.size > 0, "matrices stay in bfloat16");
      assert(modelBytes(half.loaded.model) < 0.7 * modelBytes(teacher.loaded.model));
      const other = async (overrides: readonly string[], says: string) => {
        const { model } = tinyConfig(overrides);
        const prepared = await prepareModel(model, 1);
        await assertRejects(() => Teacher.load(`${folder}/teacher`, prepared), Error, says);
        prepared.model.dispose();
      };
      await other(
        ["model.vlm_config.vit_patch_size=16", "model.vlm_config.mp_image_token_length=1"],
        "a tile is 4 tokens, the student's 1",
      );
      await other(["model.vlm_config.max_img_size=64"], "the same image processor");
      await assertRejects(() => Teacher.load(`${folder}/nothing`, student));
    } finally {
      student.model.dispose();
    }
  }));
