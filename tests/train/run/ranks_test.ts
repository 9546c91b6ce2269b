import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { runJob, withMpirun } from "../../distributed/mpirun.ts";

/** A config of few steps, tiny and embedded. */
function trainArguments(trainer: string, folder: string, settings: Record<string, unknown>) {
  const all = {
    "training.save_strategy": "no",
    "training.eval_strategy": "no",
    "training.logging_steps": 1,
    "save.save_model_path": `${folder}/final`,
    ...settings,
  };
  return [
    ...["mod.ts", "train", trainer, "--backend", "wasm", "--output-dir", folder],
    ...Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${JSON.stringify(value)}`]),
  ];
}

/** One metric of each logged step. */
async function metric(folder: string, name: string): Promise<number[]> {
  const text = await Deno.readTextFile(`${folder}/metrics.jsonl`);
  return text.trim().split("\n").map((line) => JSON.parse(line))
    .filter((record) => name in record).map((record) => record[name]);
}

function assertSameCurve(actual: readonly number[], expected: readonly number[], relative: number) {
  assertEquals(actual.length, expected.length);
  assert(expected.length > 0);
  expected.forEach((value, i) => assertAlmostEquals(actual[i], value, relative * Math.abs(value)));
}

Deno.test(
  withMpirun("SFT on two ranks with half the batch has the losses of one process", async () => {
    const folder = await Deno.makeTempDir();
    try {
      const settings = { "training.max_steps": 50, "training.learning_rate": 1e-3 };
      for (const [ranks, batch] of [[1, 8], [2, 4]]) {
        const { code, stderr } = await runJob(
          ranks,
          trainArguments("sft", `${folder}/${ranks}`, {
            ...settings,
            "training.per_device_train_batch_size": batch,
          }),
        );
        assertEquals(code, 0, stderr);
      }
      const [one, two] = [`${folder}/1`, `${folder}/2`];
      assertSameCurve(await metric(two, "loss"), await metric(one, "loss"), 1e-6);
      assertSameCurve(await metric(two, "grad_norm"), await metric(one, "grad_norm"), 1e-4);
      assertSameCurve(await metric(two, "epoch"), await metric(one, "epoch"), 1e-12);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);
