import { assert, assertEquals } from "@std/assert";
import { withMpirun } from "../../distributed/mpirun.ts";
import { RankRuns } from "./rank_runs.ts";

/** On rank 1 of a job it stalls in the second step, throws in the third and is slow in the fourth. */
const TROUBLED = `
export async function troubled({ completion_ids, trainer_state }) {
  const step = trainer_state.global_step;
  if (Deno.env.get("TEST_FAULTS") === "1" && Deno.env.get("OMPI_COMM_WORLD_RANK") === "1") {
    if (step === 1) for (;;) {}
    if (step === 2) throw new Error("no luck");
    if (step === 3) await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return completion_ids.map((ids) => ids.reduce((sum, id) => (sum * 31 + id) % 101, 7) / 101);
}
`;

interface Line {
  readonly step: number;
  readonly completion: string;
  readonly reward: number | null;
  readonly advantage: number;
}

const GENERATIONS = 4, PROMPTS = 4;

async function completions(runs: RankRuns, name: string, step: number): Promise<Line[]> {
  const text = await Deno.readTextFile(`${runs.folder}/${name}/completions.jsonl`);
  const lines: Line[] = text.trim().split("\n").map((line) => JSON.parse(line));
  return lines.filter((line) => line.step === step);
}

Deno.test(
  withMpirun("a slow or failing reward on one rank costs its scores and no others", async () => {
    await using runs = await RankRuns.open("wasm", TROUBLED);
    const path = `${runs.folder}/grpo.yaml`;
    const config = JSON.parse(await Deno.readTextFile(path));
    config.rewards = {
      [`${runs.folder}/reward.ts`]: {
        timeout_ms: 2000,
        allow_env: ["TEST_FAULTS", "OMPI_COMM_WORLD_RANK"],
      },
    };
    await Deno.writeTextFile(path, JSON.stringify(config));
    const settings = {
      "training.max_steps": 5,
      "training.per_device_train_batch_size": 1,
      "training.gradient_accumulation_steps": PROMPTS / 2,
      "grpo.steps_per_generation": PROMPTS / 2,
    };
    for (const [name, faults] of [["healthy", "0"], ["troubled", "1"]]) {
      const { code } = await runs.train(["grpo", name, 2], settings, [], { TEST_FAULTS: faults });
      assertEquals(code, 0, name);
    }
    // Every rank calls the function: a fault of one is a half.
    assertEquals(await runs.metric("troubled", "rewards/troubled/failed"), [0, 0.5, 0.5, 0, 0]);
    assertEquals(await runs.metric("troubled", "rewards/troubled/timeouts"), [0, 0.5, 0, 0, 0]);
    const losses = await runs.metric("troubled", "loss");
    assert(losses.every(Number.isFinite));
    assertEquals(losses[0], (await runs.metric("healthy", "loss"))[0]);

    for (const step of [1, 2, 3, 4, 5]) {
      const lines = await completions(runs, "troubled", step);
      assertEquals(lines.length, PROMPTS * GENERATIONS);
      const scored = lines.map(({ reward }) => reward !== null);
      // A rank answers every second prompt.
      const faulty = step === 2 || step === 3;
      const expected = scored.map((_, i) => !faulty || Math.floor(i / GENERATIONS) % 2 === 0);
      assertEquals(scored, expected, `step ${step}`);
      for (const { reward, advantage } of lines) if (reward === null) assertEquals(advantage, 0);
    }
    // The first faulty round was sampled from the weights of the healthy run.
    const healthy = await completions(runs, "healthy", 2);
    const troubled = await completions(runs, "troubled", 2);
    troubled.forEach(({ completion, reward }, i) => {
      assertEquals(completion, healthy[i].completion);
      if (reward !== null) assertEquals(reward, healthy[i].reward);
    });
  }),
);
