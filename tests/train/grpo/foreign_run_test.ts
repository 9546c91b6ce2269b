/** Whole runs of `train grpo` with its defaults and foreign modules beside the honest ones. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { CommandLine, type Outcome } from "../../faults/command_line.ts";
import { TempModules } from "../../rewards/temp_modules.ts";

/** Two steps of the embedded default, with these modules after the honest one. */
async function trainGrpo(
  cli: CommandLine,
  output: string,
  modules: readonly string[],
  settings: readonly string[] = [],
): Promise<Outcome> {
  const rewards = ["builtin:accuracy", ...modules].join(", ");
  return await cli.run([
    ...["train", "grpo", "--backend", "wasm", "--output-dir", output],
    ...["--set", "training.max_steps=2", "--set", "training.logging_steps=1"],
    ...["--set", "training.eval_strategy=no", "--set", "training.save_strategy=no"],
    ...["--set", `dataset.reward_functions_fn=[${rewards}]`],
    ...settings.flatMap((text) => ["--set", text]),
  ]);
}

/** Mean score of a function at each step. */
async function scoresOf(output: string, name: string): Promise<unknown[]> {
  const lines = (await Deno.readTextFile(`${output}/metrics.jsonl`)).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line)[`rewards/${name}/mean`])
    .filter((score) => score !== undefined);
}

/** Processes whose command line names a text. */
async function processesNaming(text: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const line = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (line.includes(text)) found.push(line.replaceAll("\0", " "));
  }
  return found;
}

Deno.test("train grpo: odd names, control characters and a background loop change nothing of the run", async () => {
  await using modules = await TempModules.write({
    "odd.js": `
      const zero = ({ completions }) => {
        console.log("step 99: reward 1000 \\u001b[2J\\u001b]0;title\\u0007");
        const loop = () => Promise.resolve().then(loop);
        setTimeout(loop, 0);
        return completions.map(() => 0);
      };
      export { zero as toString, zero as valueOf, zero as constructor, zero as accuracy };`,
  });
  await using cli = new CommandLine();
  const honest = await trainGrpo(cli, modules.path("honest"), []);
  assertEquals(honest.code, 0, honest.stderr);
  const beside = await trainGrpo(cli, modules.path("beside"), [modules.path("odd.js")]);
  assertEquals(beside.code, 0, beside.stderr);
  const terminal = beside.stdout + beside.stderr;
  assert(!terminal.includes("\u001b") && !terminal.includes("\u0007"));
  for (const line of terminal.split("\n").filter((line) => line.includes("reward 1000"))) {
    assert(line.startsWith("[reward "), line);
  }
  const [first] = await scoresOf(modules.path("honest"), "accuracy");
  assertEquals((await scoresOf(modules.path("beside"), "accuracy"))[0], first);
  assertEquals(await scoresOf(modules.path("beside"), "odd.accuracy"), [0, 0]);
  const metrics = await Deno.readTextFile(`${modules.path("beside")}/metrics.jsonl`);
  assert(!/"reward": ?null/.test(metrics), metrics);
});

Deno.test("train grpo: rows of a preprocessing module open no file but those of the data", async () => {
  await using modules = await TempModules.write({
    "secret/picture.png": "not a picture, and not the run's to open",
    "rows.js": `export function lookElsewhere(row) {
      return { ...row, images: ["../secret/picture.png", "/dev/zero"] };
    }`,
  });
  await using cli = new CommandLine();
  const outcome = await trainGrpo(cli, modules.path("out"), [], [
    `dataset.preprocessing_fn=${modules.path("rows.js")}`,
    "dataset.eval_data_path=null",
  ]);
  assertEquals(outcome.code, 1, outcome.stderr);
  assertStringIncludes(outcome.stderr, "rows");
  assert(!outcome.stderr.includes("not the run's to open"));
});

Deno.test({
  name: "train grpo: no process of a module is left after the run (Linux only)",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using modules = await TempModules.write({
      "lingering.js": `export const lingering = ({ completions }) => {
        setInterval(() => {}, 10);
        return completions.map(() => 0);
      };`,
    });
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...[
          "run",
          "-A",
          "--no-check",
          "--quiet",
          new URL("../../../mod.ts", import.meta.url).pathname,
        ],
        ...["train", "grpo", "--backend", "wasm", "--output-dir", modules.path("out")],
        ...["--set", "training.max_steps=1", "--set", "training.eval_strategy=no"],
        ...[
          "--set",
          `dataset.reward_functions_fn=[builtin:accuracy, ${modules.path("lingering.js")}]`,
        ],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const { code, stderr } = await child.output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    await new Promise((done) => setTimeout(done, 300));
    assertEquals(await processesNaming(modules.folder), []);
  },
});
