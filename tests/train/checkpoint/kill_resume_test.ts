/**
 * kill -9 at random moments of a run, during training and during saving; each time `--resume` goes
 * on, and the final weights are the same bytes as those of an undisturbed run.
 * NANOVLM_KILLS sets how often (default 4). In fp16 the loss scale goes on too.
 */
import { assert, assertEquals } from "@std/assert";
import { RandomStream } from "../../../src/random.ts";

const KILLS = Number(Deno.env.get("NANOVLM_KILLS") ?? 4);
const MAIN = new URL("../../../mod.ts", import.meta.url).pathname;
/** Each attempt gets at most this many steps further before it is killed. */
const STEPS_BETWEEN = 5;
const STEPS = (KILLS + 1) * STEPS_BETWEEN;

function start(outputDir: string, resume: boolean, extra: readonly string[]): Deno.ChildProcess {
  const settings = [
    ...extra,
    `training.max_steps=${STEPS}`,
    "training.save_steps=1",
    "training.save_total_limit=3",
    "training.eval_strategy=no",
    "training.gradient_accumulation_steps=2",
    "training.per_device_train_batch_size=8",
    "training.logging_steps=4",
    "dataset.max_samples=120",
    "logging.report_to=[tensorboard]",
  ];
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      MAIN,
      "train",
      "sft",
      "--backend=wasm",
      `--output-dir=${outputDir}`,
      ...settings.flatMap((setting) => ["--set", setting]),
      ...(resume ? ["--resume"] : []),
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function entriesOf(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) names.push(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names;
}

/**
 * Waits until a checkpoint of that step or a later one is there; of step 0 there is none.
 *
 * @param ended how the run ended, once it has
 * @throws {Error} if the run ends without that checkpoint
 */
async function checkpointOf(
  folder: string,
  step: number,
  ended: () => Deno.CommandOutput | null,
): Promise<void> {
  const isLater = (name: string) => Number(/^checkpoint-(\d+)$/.exec(name)?.[1] ?? 0) >= step;
  while (step > 0) {
    const end = ended();
    if ((await entriesOf(folder)).some(isLater)) return;
    if (end !== null) {
      const text = new TextDecoder().decode(end.stderr);
      throw new Error(`The run ended by itself, code ${end.code}, signal ${end.signal}: ${text}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function hash(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}

for (const precision of ["float32", "fp16"]) {
  const extra = precision === "fp16" ? ["training.fp16=true"] : [];
  Deno.test(`a run in ${precision} that is killed ${KILLS} times ends with the bytes of an undisturbed one`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "kill resume " });
    try {
      const whole = `${folder}/whole`, killed = `${folder}/killed`;
      const undisturbed = await start(whole, false, extra).output();
      assert(undisturbed.success, new TextDecoder().decode(undisturbed.stderr));

      const random = new RandomStream(Date.now(), "kills");
      let kills = 0, reached = 0;
      const moments: string[] = [];
      for (let attempt = 0; kills < KILLS; attempt++) {
        const child = start(killed, attempt > 0, extra);
        let end: Deno.CommandOutput | null = null;
        const output = child.output().then((found) => end = found);
        // Some steps further, then anywhere within a step and its checkpoint.
        reached += random.nextInt(STEPS_BETWEEN);
        await checkpointOf(killed, reached, () => end);
        await new Promise((resolve) => setTimeout(resolve, 120 * random.nextFloat()));
        child.kill("SIGKILL");
        assertEquals((await output).signal, "SIGKILL");
        kills++;
        const saving = await entriesOf(killed).then((names) =>
          names.some((name) => name.startsWith(".checkpoint-"))
        );
        moments.push(`${reached}${saving ? " while saving" : ""}`);
      }
      console.log(`killed after step ${moments.join(", ")}`);
      const last = await start(killed, true, extra).output();
      assert(last.success, new TextDecoder().decode(last.stderr));
      console.log(`${kills} kills and resumes, ${STEPS} steps`);
      for (
        const file of ["final_model/model.safetensors", `checkpoint-${STEPS}/optimizer.safetensors`]
      ) {
        assertEquals(await hash(`${killed}/${file}`), await hash(`${whole}/${file}`), file);
      }
      const steps = (await Deno.readTextFile(`${killed}/metrics.jsonl`)).trim().split("\n")
        .map((line) => JSON.parse(line).step);
      assertEquals(
        steps,
        steps.toSorted((a: number, b: number) => a - b),
        "metrics.jsonl in order",
      );
      assertEquals(new Set(steps).size, steps.length, "no step twice in metrics.jsonl");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
