/**
 * kill -9 at random moments of a run, during training and during saving; each time `--resume` goes
 * on, and the final weights are the same bytes as those of a run that nobody disturbed.
 * NANOVLM_KILLS sets how often (default 4).
 */
import { assert, assertEquals } from "@std/assert";
import { RandomStream } from "../../src/random.ts";

const KILLS = Number(Deno.env.get("NANOVLM_KILLS") ?? 4);
const MAIN = new URL("../../mod.ts", import.meta.url).pathname;
const STEPS = Math.max(24, KILLS * 6);

function start(outputDir: string, resume: boolean): Deno.ChildProcess {
  const settings = [
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

async function hash(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}

Deno.test(`a run that is killed ${KILLS} times ends with the bytes of an undisturbed one`, async () => {
  const folder = await Deno.makeTempDir({ prefix: "kill resume " });
  try {
    const whole = `${folder}/whole`, killed = `${folder}/killed`;
    const began = performance.now();
    const undisturbed = await start(whole, false).output();
    assert(undisturbed.success, new TextDecoder().decode(undisturbed.stderr));
    const runMs = performance.now() - began;

    const random = new RandomStream(Date.now(), "kills");
    let kills = 0, resumed = 0, finished = false;
    for (let attempt = 0; !finished; attempt++) {
      const child = start(killed, attempt > 0);
      if (attempt > 0) resumed++;
      const output = child.output();
      // From before the model is there to well into training and saving.
      const delayMs = (0.1 + 0.9 * random.nextFloat()) * Math.min(runMs, 6000);
      const timer = kills < KILLS ? setTimeout(() => child.kill("SIGKILL"), delayMs) : undefined;
      const { success, signal, stderr } = await output;
      clearTimeout(timer);
      if (signal === "SIGKILL") kills++;
      else {
        assert(success, new TextDecoder().decode(stderr));
        finished = true;
      }
    }
    console.log(`${kills} kills, ${resumed} resumes, ${STEPS} steps`);
    for (
      const file of ["final_model/model.safetensors", `checkpoint-${STEPS}/optimizer.safetensors`]
    ) {
      assertEquals(await hash(`${killed}/${file}`), await hash(`${whole}/${file}`), file);
    }
    const steps = (await Deno.readTextFile(`${killed}/metrics.jsonl`)).trim().split("\n")
      .map((line) => JSON.parse(line).step);
    assertEquals(steps, steps.toSorted((a: number, b: number) => a - b), "metrics.jsonl in order");
    assertEquals(new Set(steps).size, steps.length, "no step twice in metrics.jsonl");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
