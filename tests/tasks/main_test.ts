import { assert, assertEquals } from "@std/assert";
import deno from "../../deno.json" with { type: "json" };
import { COMMANDS } from "../../tasks/commands.ts";
import { VERSION } from "../../tasks/version.ts";

const root = new URL("../../", import.meta.url);

/** Runs the command line in a process of its own. */
async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "tests/tasks/run_main.ts", ...args],
    cwd: root,
    env: { NO_COLOR: "1", NANOVLM_DEBUG: "" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("VERSION is deno.json's", () => assertEquals(VERSION, deno.version));

Deno.test("the list of commands has the summary of each command", async () => {
  for (const [name, { summary, load }] of COMMANDS) {
    const command = await load();
    assertEquals([command.name, command.summary], [name, summary]);
  }
});

Deno.test("every command has a task in deno.json", () => {
  const tasks: Record<string, string> = deno.tasks;
  for (const name of COMMANDS.keys()) assert(tasks[name]?.includes(`mod.ts ${name}`), name);
});

Deno.test("--help lists the commands and exits with 0, no command with 2", async () => {
  const help = await run("--help");
  assertEquals(help.code, 0);
  for (const name of COMMANDS.keys()) assert(help.out.includes(`\n  ${name} `), name);
  const none = await run();
  assertEquals([none.code, none.out], [2, ""]);
});

Deno.test("COMMAND --help shows its options and exits with 0", async () => {
  const { code, out } = await run("train", "--help");
  assertEquals(code, 0);
  assert(out.includes("<sft|dpo|grpo|gkd>") && out.includes("--dry-run"));
});

Deno.test("an unknown command exits with 2 and names the nearest", async () => {
  const { code, out, err } = await run("trian");
  assertEquals([code, out], [2, ""]);
  assert(err.includes("did you mean train?"), err);
});

Deno.test("a wrong option exits with 2 and names the nearest", async () => {
  const { code, err } = await run("train", "sft", "--dry-rnu");
  assertEquals(code, 2);
  assert(err.includes("did you mean --dry-run?"), err);
});

Deno.test("a wrong config exits with 2, with file and line, and writes nothing", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/bad.yaml`;
  await Deno.writeTextFile(
    file,
    `training_type: sft\nmodel: { model_name_or_path: x }\ndataset: { train_data_path: x }\n` +
      `training:\n  output_dir: ${folder}/out\n  max_stesp: 5\n`,
  );
  const { code, out, err } = await run("train", "sft", "--config", file);
  assertEquals([code, out], [2, ""]);
  assertEquals(err.trim(), `${file}:6: training.max_stesp: no such key; did you mean max_steps?`);
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["bad.yaml"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a missing config exits with 2", async () => {
  const { code, err } = await run("train", "sft", "--config", "no/such.yaml");
  assertEquals(code, 2);
  assert(err.includes("there is no such file"), err);
});

Deno.test("a failure exits with 1 and shows its stack under --verbose alone", async () => {
  const plain = await run("fail");
  assertEquals(plain.code, 1);
  assert(plain.err.startsWith("fail failed: on purpose\n  because: of a test\n"), plain.err);
  assert(!plain.err.includes("    at "), plain.err);
  assert((await run("fail", "--verbose")).err.includes("    at "));
});

const noSignals = Deno.build.os === "windows";

/** Starts the command, sends one SIGINT when it says it is ready, and a second one if `twice`. */
async function interrupt(command: string, twice: boolean): Promise<{ code: number; out: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "tests/tasks/run_main.ts", command],
    cwd: root,
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let out = "";
  let sent = 0;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    out += text;
    if (out.includes("ready") && sent === 0) child.kill("SIGINT"), sent++;
    if (twice && out.includes("saving") && sent === 1) child.kill("SIGINT"), sent++;
  }
  return { code: (await child.status).code, out };
}

Deno.test({
  name: "Ctrl-C lets a command that saves do so, and exits with 130 (no signals on Windows)",
  ignore: noSignals,
  fn: async () => {
    assertEquals(await interrupt("save", false), { code: 130, out: "ready\nsaving\nsaved\n" });
  },
});

Deno.test({
  name: "a second Ctrl-C ends it at once with 130 (no signals on Windows)",
  ignore: noSignals,
  fn: async () => {
    assertEquals(await interrupt("save", true), { code: 130, out: "ready\nsaving\n" });
  },
});

Deno.test({
  name: "Ctrl-C ends a command that saves nothing at once with 130 (no signals on Windows)",
  ignore: noSignals,
  fn: async () => {
    assertEquals(await interrupt("wait", false), { code: 130, out: "ready\n" });
  },
});

Deno.test({
  name: "on Linux the command line leaves OpenGL's drivers alone",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const main = new URL("../../tasks/main.ts", import.meta.url).href;
    const { DENO_WEBGPU_BACKEND: _, ...own } = Deno.env.toObject();
    const loads = async (env: Record<string, string>): Promise<string> => {
      const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
        args: [
          "eval",
          `const { main } = await import("${main}"); await main(["doctor"]);
           const maps = Deno.readTextFileSync("/proc/self/maps");
           console.log("chosen " + Deno.env.get("DENO_WEBGPU_BACKEND") + " " + maps.includes("libEGL"));
           Deno.exit();`,
        ],
        ...{ clearEnv: true, env: { ...env, NO_COLOR: "1" } },
      }).output();
      const text = new TextDecoder().decode(stdout);
      assert(success, new TextDecoder().decode(stderr));
      return /^chosen .*$/m.exec(text)![0];
    };
    assertEquals(await loads({ ...own, DENO_WEBGPU_BACKEND: "none" }), "chosen none false");
    assertEquals(await loads(own), "chosen vulkan false");
  },
});
