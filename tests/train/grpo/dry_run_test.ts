import { assert, assertEquals } from "@std/assert";
import { dryRunGRPO } from "../../../src/train/grpo/dry_run.ts";
import { dryRunLines } from "../../../src/train/dry_run/report.ts";
import { tinyConfig } from "./tiny_grpo.ts";

Deno.test("train grpo --dry-run runs full completions forward and backward, calls the rewards, writes nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/reward.ts`,
      "export const broken = () => { throw new Error('as meant'); };",
    );
    const config = tinyConfig([
      "grpo.max_completion_length=7",
      "grpo.beta=0.1",
      "training.gradient_accumulation_steps=2",
      `training.output_dir=${folder}/run`,
      `dataset.reward_functions_fn=[builtin:format,${folder}/reward.ts]`,
    ]);
    const report = await dryRunGRPO(config, { backend: "wasm" });
    assertEquals(report.batch.rows, 4, "a prompt a row, its completions after it");
    assertEquals(report.batch.tiles, 4);
    const perRow = report.batch.tokens / 4;
    assert(perRow > 3 * 7 && perRow < 64 + 3 * 7, `${perRow}`);
    assert(report.gradNorm > 0);
    assert(report.measured.pass > report.measured.gradients);
    // Everything trains, and beta asks for what it began as.
    const { estimate } = report;
    assertEquals(estimate.reference, 4 * report.trained);
    assert(dryRunLines(report).some((line) => line.includes("a reference or a teacher")));
    const lora = tinyConfig(["grpo.beta=0.1", `training.output_dir=${folder}/run`]);
    Object.assign(lora.model, { use_lora: true });
    const adapters = await dryRunGRPO(lora, { backend: "wasm" });
    assert(adapters.estimate.reference < adapters.estimate.weights / 2);
    const entries = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
    assertEquals(entries, ["reward.ts"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("train grpo --dry-run calls the environment, and says what failed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/environment.ts`,
      `export const reset = ({ prompts }) => prompts.map(() => 0);
       export const step = () => { throw new Error("as meant"); };`,
    );
    const config = tinyConfig([
      "grpo.max_completion_length=4",
      `grpo.environment=${folder}/environment.ts`,
      `training.output_dir=${folder}/run`,
    ]);
    const { warnings } = await dryRunGRPO(config, { backend: "wasm" });
    assert(
      warnings.some((line) => line.includes("environment's step failed") && /as meant/.test(line)),
      warnings.join("\n"),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
