/** The device is taken away in the middle of a run; what is on disk is whole, and the run goes on. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { activeBackend } from "../../../src/device/backend.ts";
import { assertNoGpuErrors } from "../../../src/device/gpu_errors.ts";
import { runGRPO } from "../../../src/train/grpo/run.ts";
import { StepFailedError } from "../../../src/train/loop/step_failure.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { tinyConfig } from "../grpo/tiny_grpo.ts";

const CHILD = new URL("./losing_child.ts", import.meta.url).pathname;
const MAIN = new URL("../../../mod.ts", import.meta.url).pathname;

/** The smallest model that has every part. */
const SMALLEST = [
  "model.vlm_config.vit_hidden_dim=16",
  "model.vlm_config.vit_inter_dim=32",
  "model.vlm_config.vit_n_heads=2",
  "model.vlm_config.vit_n_blocks=1",
  "model.vlm_config.lm_hidden_dim=16",
  "model.vlm_config.lm_inter_dim=32",
  "model.vlm_config.lm_n_heads=2",
  "model.vlm_config.lm_n_kv_heads=1",
  "model.vlm_config.lm_n_blocks=1",
];

function trainArguments(trainer: string, folder: string, settings: readonly string[]): string[] {
  const all = [
    ...SMALLEST,
    ...settings,
    `save.save_model_path=${JSON.stringify(`${folder}/final`)}`,
    "training.eval_strategy=no",
    "training.logging_steps=1",
    "dataset.max_samples=60",
    "logging.report_to=[tensorboard]",
  ];
  return [
    ...["train", trainer, "--backend=webgpu", `--output-dir=${folder}/out`],
    ...all.flatMap((setting) => ["--set", setting]),
  ];
}

async function run(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...args],
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

function lines(path: string): Record<string, unknown>[] {
  const text = Deno.readTextFileSync(path);
  assert(text.endsWith("\n"), `${path} is cut off`);
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

gpuTest(
  "a lost device ends the run with what is safe and how to go on, and that goes on",
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "lost " });
    const out = `${folder}/out`;
    const args = trainArguments("sft", folder, ["training.max_steps=400", "training.save_steps=2"]);
    const lost = await run([CHILD, `${out}/checkpoint-4`, ...args]);
    assertEquals(lost.code, 1, lost.stderr);
    const said =
      /Training stopped at step (\d+): The GPU device was lost .*?Everything up to step (\d+) is whole in (.*?checkpoint-\d+): go on with the same command and --resume (.*?checkpoint-\d+)/s
        .exec(lost.stderr);
    assert(said !== null, lost.stderr);
    const [, step, safe, path, resumed] = said;
    assert(Number(safe) >= 4 && Number(step) > Number(safe) && Number(step) < Number(safe) + 4);
    assertEquals([path, resumed], [`${out}/checkpoint-${safe}`, path]);
    // Nothing half-written: no temporary files, every line whole, a page that says that it failed.
    const names = [...Deno.readDirSync(out)].map(({ name }) => name);
    assertEquals(names.filter((name) => name.startsWith(".") || name.includes("tmp")), []);
    const records = lines(`${out}/metrics.jsonl`);
    assert(Number(records.at(-1)!.step) < Number(step));
    assert(Number(records.at(-1)!.peak_gpu_memory_bytes) > 0);
    assertStringIncludes(Deno.readTextFileSync(`${out}/report.html`), "The GPU device was lost");
    assert(!names.includes("final"));
    const [{ code, stderr }] = await Promise.all([run([
      MAIN,
      ...args,
      ...["--set", `training.max_steps=${Number(safe) + 2}`, `--resume=${path}`],
    ])]);
    assertEquals(code, 0, stderr);
    assertEquals(
      lines(`${out}/metrics.jsonl`).map((record) => record.step),
      Array.from({ length: Number(safe) + 2 }, (_, i) => i + 1),
    );
    await Deno.remove(folder, { recursive: true });
  },
);

gpuTest(
  "a device that is lost while completions are sampled ends the run; the next gets a new one",
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "lost " });
    const config = (name: string) => {
      const tiny = tinyConfig([
        "training.max_steps=2",
        "training.save_strategy=no",
        "training.eval_strategy=no",
        "training.per_device_train_batch_size=1",
        `training.output_dir=${JSON.stringify(`${folder}/${name}`)}`,
      ]);
      return { ...tiny, save: { ...tiny.save, save_model_path: `${folder}/${name}/final` } };
    };
    let steps = 0;
    const error = await assertRejects(
      () =>
        runGRPO(config("lost"), {
          backend: "webgpu",
          callbacks: [{
            onStepEnd() {
              steps++;
              setTimeout(() => activeBackend()!.device!.destroy(), 20);
            },
          }],
        }),
      StepFailedError,
    );
    assertEquals(steps, 1);
    assertStringIncludes(error.message, "Training stopped at step 2: The GPU device was lost");
    assertStringIncludes(error.message, "There is no checkpoint yet");
    lines(`${folder}/lost/completions.jsonl`);
    const { status } = await runGRPO(config("whole"), { backend: "webgpu" });
    assertEquals(status, "done");
    assertNoGpuErrors();
    activeBackend()?.dispose();
    await Deno.remove(folder, { recursive: true });
  },
);
