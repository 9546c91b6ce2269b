/** Ctrl-C and `kill`: a checkpoint first, then exit code 130, and a resumed run that ends the same. */
import { assert, assertEquals } from "@std/assert";
import { checkpointProblem, listCheckpoints } from "../../src/train/checkpoint_folder.ts";
import { assertFails, type Outcome, tinyTraining } from "./command_line.ts";

const MAIN = new URL("../../mod.ts", import.meta.url).pathname;
const STEPS = 40;
const settings = [
  `training.max_steps=${STEPS}`,
  "training.logging_steps=1",
  "training.save_steps=1000",
  "training.gradient_accumulation_steps=2",
];

/**
 * Runs `train sft`; each time that the pattern of a signal shows up in stderr, the signal is sent.
 */
async function run(
  output: string,
  options: readonly string[] = [],
  signals: readonly [pattern: RegExp, signal: Deno.Signal][] = [],
): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", MAIN, ...tinyTraining(output, settings, options)],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let stderr = "";
  let sent = 0;
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    stderr += text;
    if (sent < signals.length && signals[sent][0].test(stderr)) child.kill(signals[sent++][1]);
  }
  const { code } = await child.status;
  assertEquals(sent, signals.length, stderr);
  return { code, stdout: "", stderr };
}

const hash = async (path: string): Promise<string> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();

Deno.test({
  name: "Ctrl-C and SIGTERM save a checkpoint and exit with 130, a second Ctrl-C stops at once, " +
    "and --resume ends with the bytes of an undisturbed run (no signals on Windows)",
  ignore: Deno.build.os === "windows",
  async fn() {
    const root = await Deno.makeTempDir({ prefix: "interrupt " });
    const whole = `${root}/whole`, stopped = `${root}/stopped`;
    try {
      const undisturbed = run(whole);
      const first = await run(stopped, [], [[/step 3\/40/, "SIGINT"]]);
      assertFails(first, 130, "interrupted: saving a checkpoint; Ctrl-C again stops at once");
      const [saved] = await listCheckpoints(stopped);
      assert(saved.step >= 3 && saved.step < STEPS, `${saved.step}`);
      assertEquals(await checkpointProblem(saved.path), null);
      assertFails(first, 130, `--resume: step ${saved.step} is saved in ${stopped}`);

      const next = new RegExp(`step ${saved.step + 3}/40`);
      const second = await run(stopped, ["--resume"], [[next, "SIGTERM"]]);
      assertFails(second, 130, "--resume: step");
      const [, later] = await listCheckpoints(stopped);
      assert(later.step >= saved.step + 3 && later.step < STEPS, `${later.step}`);

      const third = await run(stopped, ["--resume"], [
        [new RegExp(`step ${later.step + 2}/40`), "SIGINT"],
        [/Ctrl-C again/, "SIGINT"],
      ]);
      assertEquals(third.code, 130, third.stderr);
      for (const { path } of await listCheckpoints(stopped)) {
        assertEquals(await checkpointProblem(path), null);
      }

      const last = await run(stopped, ["--resume"]);
      assertEquals(last.code, 0, last.stderr);
      const { code, stderr } = await undisturbed;
      assertEquals(code, 0, stderr);
      for (
        const file of ["final_model/model.safetensors", `checkpoint-${STEPS}/optimizer.safetensors`]
      ) assertEquals(await hash(`${stopped}/${file}`), await hash(`${whole}/${file}`), file);
      const records = async (folder: string) =>
        (await Deno.readTextFile(`${folder}/metrics.jsonl`)).trim().split("\n").map((line) => {
          const { step, loss, grad_norm, epoch } = JSON.parse(line);
          return { step, loss, grad_norm, epoch };
        });
      assertEquals(await records(stopped), await records(whole));
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
});
