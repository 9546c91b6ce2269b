/** Ctrl-C while a model or data are loading: at once, with nothing changed on disk. */
import { assert, assertEquals } from "@std/assert";
import { EMBEDDED_CONFIGS } from "../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../src/config/load_config.ts";
import { assertFails, tinyTraining } from "./command_line.ts";
import { command, start } from "./interrupted_command.ts";

const SAID = "interrupted while loading: nothing was trained; the same command begins again";

/** An output folder that holds a run already. */
async function folderWithRun(root: string): Promise<string> {
  const output = `${root}/run`;
  await Deno.mkdir(output);
  await Deno.writeTextFile(`${output}/metrics.jsonl`, "old\n");
  return output;
}

/** Holds that the old run is all there is. */
async function assertUntouched(root: string, more: readonly string[] = []): Promise<void> {
  const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  assertEquals(names(root), [...more, "run"].sort());
  assertEquals(names(`${root}/run`), ["metrics.jsonl"]);
  assertEquals(await Deno.readTextFile(`${root}/run/metrics.jsonl`), "old\n");
}

/** Polls until a path is there. */
async function appears(path: string): Promise<void> {
  while (!await Deno.stat(path).then(() => true, () => false)) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const notOnWindows = { ignore: Deno.build.os === "windows" };

Deno.test({
  name: "Ctrl-C while a model is being made ends train with 130, and the old run stays " +
    "(no signals on Windows)",
  ...notOnWindows,
  async fn() {
    const root = await Deno.makeTempDir({ prefix: "interrupted model " });
    try {
      // 230 million random numbers: tens of seconds.
      const large = [
        "model.vlm_config.lm_hidden_dim=576",
        "model.vlm_config.lm_inter_dim=1536",
        "model.vlm_config.lm_n_heads=9",
        "model.vlm_config.lm_n_kv_heads=3",
        "model.vlm_config.lm_n_blocks=64",
      ];
      const args = tinyTraining(await folderWithRun(root), large);
      const ended = await command(args, [[/^backend /m, "SIGINT"]]);
      assertFails(ended, 130, SAID);
      assert(!/step 1\//.test(ended.stderr), ended.stderr);
      await assertUntouched(root);
      const dry = await command([...args, "--dry-run"], [[/^backend /m, "SIGINT"]]);
      assertFails(dry, 130, "a dry run has nothing to save");
      await assertUntouched(root);
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
});

for (const trainer of ["sft", "dpo", "grpo"]) {
  Deno.test({
    name: `Ctrl-C while data are being read ends train ${trainer} with 130, and the old run is ` +
      "back in its place (no signals on Windows)",
    ...notOnWindows,
    async fn() {
      const root = await Deno.makeTempDir({ prefix: "interrupted data " });
      try {
        const output = await folderWithRun(root);
        // It ends when somebody ends it.
        const module = `${root}/slow.ts`;
        await Deno.writeTextFile(
          module,
          "export const slow = () => new Promise((resolve) => setTimeout(resolve, 3_600_000));\n",
        );
        const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text);
        const args = tinyTraining(output, [
          `dataset.preprocessing_fn=${module}`,
          "model.model_name_or_path=initialize",
          "model.load_backbone=false",
          `model.vlm_config=${JSON.stringify(model.vlm_config)}`,
        ]);
        args[args.indexOf("sft")] = trainer;
        const config = args.findIndex((arg) => arg.startsWith("--config="));
        args[config] = args[config].replace("shapes_sft", `shapes_${trainer}`);
        const child = start(args);
        const stderr = new Response(child.stderr).text();
        await Promise.race([appears(`${output}-1`), child.status]);
        await new Promise((resolve) => setTimeout(resolve, 300)); // on to the data
        try {
          child.kill("SIGINT");
        } catch {
          // It has ended by itself: its exit code tells.
        }
        const { code } = await child.status;
        assertFails({ code, stdout: "", stderr: await stderr }, 130, SAID);
        await assertUntouched(root, ["slow.ts"]);
      } finally {
        await Deno.remove(root, { recursive: true });
      }
    },
  });
}
