/**
 * Ctrl-C and `kill`: a checkpoint first, then exit code 130, and a resumed run that ends the same;
 * within an evaluation too.
 */
import { assert, assertEquals } from "@std/assert";
import {
  checkpointProblem,
  listCheckpoints,
} from "../../src/train/checkpoint/checkpoint_folder.ts";
import { assertFails, type Outcome, tinyTraining } from "./command_line.ts";
import { command, type Signals, start } from "./interrupted_command.ts";

const STEPS = 40;
const settings = [
  `training.max_steps=${STEPS}`,
  "training.logging_steps=1",
  "training.save_steps=1000",
  "training.gradient_accumulation_steps=2",
];

/** Runs `train sft` as {@linkcode command}. */
async function run(
  output: string,
  options: readonly string[] = [],
  signals: Signals = [],
): Promise<Outcome> {
  return await command(tinyTraining(output, settings, options), signals);
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

/** Runs a command, and sends one Ctrl-C when a file has more than so many lines. */
async function interruptAfterLines(args: readonly string[], file: string): Promise<Outcome> {
  const child = start(args);
  const linesOf = () => Deno.readTextFile(file).then((text) => text.split("\n").length, () => 0);
  const poll = setInterval(async () => {
    if (await linesOf() < 2) return;
    clearInterval(poll);
    child.kill("SIGINT");
  }, 20);
  try {
    const stderr = await new Response(child.stderr).text();
    return { code: (await child.status).code, stdout: "", stderr };
  } finally {
    clearInterval(poll);
  }
}

Deno.test({
  name:
    "Ctrl-C within an evaluation ends it after its batch: in training with the step saved and " +
    "at its end with the model whole, and eval tells what it has (no signals on Windows)",
  ignore: Deno.build.os === "windows",
  async fn() {
    const root = await Deno.makeTempDir({ prefix: "interrupted evaluation " });
    const output = `${root}/run`;
    // All 900 held-out questions, one by one: seconds, which one batch is not.
    const train = (...options: string[]) => [
      ...tinyTraining(output, [
        "dataset.max_samples=null",
        "training.max_steps=4",
        "training.logging_steps=1",
        "training.eval_strategy=steps",
        "training.eval_steps=2",
        "training.per_device_eval_batch_size=1",
      ]),
      ...options,
    ];
    try {
      const within = await command(train(), [[/step 2\/4/, "SIGINT"]]);
      assertFails(within, 130, `--resume: step 2 is saved in ${output}`);
      assert(!within.stderr.includes("eval_loss"), within.stderr);
      const [saved] = await listCheckpoints(output);
      assertEquals([saved.step, await checkpointProblem(saved.path)], [2, null]);

      const atEnd = await command(train("--resume", "--set", "training.eval_steps=4"), [
        [/step 4: eval_loss/, "SIGINT"],
      ]);
      assertFails(atEnd, 130, `${output}/final_model`, "the same command and --resume");
      assert(!atEnd.stderr.includes("Exact match on"), atEnd.stderr);

      const out = `${root}/answers.jsonl`;
      const model = ["--model", `${output}/final_model`, "--backend=wasm"];
      const measure = ["eval", ...model, "--data=builtin:shapes", "--batch-size=1", "--out", out];
      const measured = await interruptAfterLines(measure, out);
      assertFails(measured, 130, /the first \d+ rows alone/, "exact match", out, "--limit");
      const lines = (await Deno.readTextFile(out)).split("\n");
      assertEquals(lines.pop(), "");
      for (const line of lines) assert("answer" in JSON.parse(line), line);
      assert(lines.length < 900, `${lines.length}`);

      const whole = await command(train("--resume"));
      assertEquals(whole.code, 0, whole.stderr);
      assert(whole.stderr.includes("Exact match on held-out pictures"), whole.stderr);
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
});
