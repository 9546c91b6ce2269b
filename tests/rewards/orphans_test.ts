import { assert, assertEquals } from "@std/assert";
import { alive } from "./hostile_range.ts";
import { TempModules } from "./temp_modules.ts";

const library = new URL("../../src/rewards/", import.meta.url).href;
const config = new URL("../../deno.json", import.meta.url);

/** Starts a trainer with an idle, a hanging and a waiting reward; returns all its processes. */
async function trainer(
  modules: TempModules,
  walls: boolean,
): Promise<{ process: Deno.ChildProcess; pids: number[] }> {
  await Deno.writeTextFile(
    modules.path("trainer.ts"),
    `import { RewardSandbox } from "${library}mod.ts";
    import { assumeSystemWalls } from "${library}host/system_walls.ts";
    ${
      walls
        ? ""
        : "assumeSystemWalls({ unshare: null, setpriv: null, prlimit: null, perl: null });"
    }
    const sandbox = await RewardSandbox.start(
      ["idle.js", "hang.js", "wait.js"].map((module) => ({ module, processes: 2, timeoutMs: 60000 })),
      { base: ${JSON.stringify(modules.folder)} },
    );
    sandbox.score({ prompts: ["x"], completions: ["x"] });
    console.log(JSON.stringify(await sandbox.pids()));
    await new Promise((resolve) => setTimeout(resolve, 60000));`,
  );
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--config", config.pathname, modules.path("trainer.ts")],
    stdout: "piped",
  }).spawn();
  let text = "";
  for await (const chunk of process.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  return { process, pids: JSON.parse(text) };
}

for (const walls of [true, false]) {
  Deno.test({
    name: `a second after kill -9 of the trainer no reward process is alive, ${
      walls ? "with" : "without"
    } kernel walls`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using modules = await TempModules.write({
        "idle.js": "export const idle = ({ completions }) => completions.map(() => 1);",
        "hang.js": "export const hang = () => { for (;;); };",
        "wait.js":
          "export const wait = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
      });
      const { process, pids } = await trainer(modules, walls);
      assertEquals(pids.length, 6);
      assert(pids.every(alive));
      const isStopped = (pid: number) =>
        / T /.test(Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\)/, " "));
      for (let i = 0; i < 200 && pids.filter(isStopped).length < 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert(pids.filter(isStopped).length >= 2, "processes that wait for a call are stopped");
      process.kill("SIGKILL");
      await process.status;
      await new Promise((resolve) => setTimeout(resolve, 1000));
      assertEquals(pids.filter(alive), []);
    },
  });
}

Deno.test("a program that does not close its sandbox still exits", async () => {
  await using modules = await TempModules.write({
    "program.ts": `import { RewardSandbox } from "${library}mod.ts";
      const sandbox = await RewardSandbox.start([{ module: "builtin:format" }]);
      console.log((await sandbox.score({ prompts: ["x"], completions: ["x"] })).total[0]);`,
  });
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--config", config.pathname, modules.path("program.ts")],
  }).output();
  assertEquals([success, new TextDecoder().decode(stdout)], [true, "0\n"]);
});
