import { assert, assertEquals } from "@std/assert";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { runDPO } from "../../../src/train/dpo/run.ts";
import { tinyConfig } from "./tiny_dpo.ts";

function configIn(folder: string, overrides: readonly string[] = []): ResolvedConfig {
  return tinyConfig([
    `training.output_dir=${JSON.stringify(folder)}`,
    `save.save_model_path=${JSON.stringify(`${folder}/final_model`)}`,
    "dataset.max_samples=14",
    "training.gradient_accumulation_steps=2",
    "training.max_steps=5",
    "training.save_steps=2",
    "training.eval_steps=2",
    "training.logging_steps=1",
    "training.warmup_steps=0",
    ...overrides,
  ]);
}

async function hash(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}

async function metrics(folder: string): Promise<Record<string, number>[]> {
  const lines = (await Deno.readTextFile(`${folder}/metrics.jsonl`)).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

Deno.test("runDPO() writes a run, and one that stopped goes on to the same bytes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [whole, stopped] = [`${folder}/whole`, `${folder}/stopped`];
    const done = await runDPO(configIn(whole), { backend: "wasm" });
    assertEquals([done.status, done.step], ["done", 5]);
    assert(done.evaluation!["eval_rewards/accuracies"] !== undefined);
    assert((await Deno.readTextFile(`${whole}/report.html`)).includes("before"));

    const first = await runDPO(configIn(stopped), {
      backend: "wasm",
      callbacks: [{ onStepEnd: ({ step }) => step === 3 ? "stop" : undefined }],
    });
    assertEquals(first.status, "stopped");
    const table = await hash(`${stopped}/reference/train.json`);
    const second = await runDPO(configIn(stopped), { backend: "wasm", resume: "auto" });
    assertEquals([second.status, second.step], ["done", 5]);
    assertEquals(await hash(`${stopped}/reference/train.json`), table);
    for (const file of ["final_model/model.safetensors", "checkpoint-5/optimizer.safetensors"]) {
      assertEquals(await hash(`${stopped}/${file}`), await hash(`${whole}/${file}`), file);
    }
    const logged = (await metrics(whole)).filter(({ loss }) => loss !== undefined);
    assertEquals(logged.map(({ step }) => step), [1, 2, 3, 4, 5]);
    for (
      const name of [
        "rewards/chosen",
        "rewards/rejected",
        "rewards/accuracies",
        "rewards/margins",
        "logps/chosen",
        "logps/rejected",
        "logits/chosen",
        "logits/rejected",
        "grad_norm",
        "learning_rate",
      ]
    ) assert(Number.isFinite(logged[0][name]), name);
    // At the first step the policy is its reference.
    assertEquals(Math.abs(logged[0]["rewards/margins"]) < 1e-4, true);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("runDPO() interrupted before its first step says so and keeps no half table", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const controller = new AbortController();
    controller.abort();
    const config = configIn(`${folder}/run`);
    const { status } = await runDPO(config, { backend: "wasm", signal: controller.signal });
    assertEquals(status, "interrupted");
    const { status: after } = await runDPO(config, { backend: "wasm", resume: "auto" });
    assertEquals(after, "done");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
