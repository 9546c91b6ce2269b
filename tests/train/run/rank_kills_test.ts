/**
 * kill -9 of any rank at random moments: while it loads, computes, scores or saves. No process of the
 * job stays behind, `--resume` goes on each time, and the final weights are the same bytes as those of
 * an undisturbed run. NANOVLM_KILLS sets how often (default 2).
 */
import { assert, assertEquals } from "@std/assert";
import { RandomStream } from "../../../src/random.ts";
import { endOf, withMpirun } from "../../distributed/mpirun.ts";
import { childrenOf, descendantsOf, stillRunning } from "../../distributed/processes.ts";
import { RankRuns, type Settings } from "./rank_runs.ts";

const KILLS = Number(Deno.env.get("NANOVLM_KILLS") ?? 2);
/** Each attempt gets at most this many steps further before a rank is killed. */
const STEPS_BETWEEN = 3;
const STEPS = KILLS * STEPS_BETWEEN + 10;
const RANKS = 3;
/** After which a process that is left counts as an orphan. */
const ORPHAN_MS = 30_000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The last step of a folder's checkpoints; 0 without one. */
async function newestStep(folder: string): Promise<number> {
  let newest = 0;
  try {
    for await (const { name } of Deno.readDir(folder)) {
      newest = Math.max(newest, Number(/^checkpoint-(\d+)$/.exec(name)?.[1] ?? 0));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return newest;
}

/** Waits for the ranks of a job. */
async function ranksOf(job: Deno.ChildProcess): Promise<number[]> {
  for (;;) {
    const ranks = await childrenOf(job.pid);
    if (ranks.length === RANKS) return ranks;
    await pause(20);
  }
}

/** Kills one rank, and returns after how many milliseconds no process of the job was left. */
async function killOne(job: Deno.ChildProcess, victim: number): Promise<number> {
  const ended = endOf(job);
  const ranks = await ranksOf(job);
  // Sandboxes are children of ranks, and may outlive them.
  const processes = await descendantsOf(job.pid);
  const killed = performance.now();
  Deno.kill(ranks[victim], "SIGKILL");
  let left = processes;
  while (left.length > 0 && performance.now() - killed < ORPHAN_MS) {
    await pause(50);
    left = await stillRunning(left);
  }
  assertEquals(left, [], "orphans");
  const took = performance.now() - killed;
  const { code, stderr } = await ended;
  assert(code !== 0, stderr);
  return took;
}

for (
  const [trainer, more] of [["sft", {}], ["grpo", { "grpo.steps_per_generation": 2 }]] as const
) {
  Deno.test(
    withMpirun(
      `${trainer}: a rank is killed ${KILLS} times, nothing stays behind, and the bytes are the same`,
      async () => {
        await using runs = await RankRuns.open();
        const settings: Settings = {
          ...more,
          "training.per_device_train_batch_size": 2,
          "training.gradient_accumulation_steps": 1,
          "training.max_steps": STEPS,
          "training.save_strategy": "steps",
          "training.save_steps": 1,
          "training.save_total_limit": 3,
        };
        assertEquals((await runs.train([trainer, "whole", RANKS], settings)).code, 0);
        const random = new RandomStream(Date.now(), "kills");
        const folder = `${runs.folder}/killed`;
        let reached = 0;
        for (let kill = 0; kill < KILLS; kill++) {
          const job = runs.start(
            [trainer, "killed", RANKS],
            settings,
            kill > 0 ? ["--resume"] : [],
          );
          await ranksOf(job);
          // Some steps further, then anywhere within a step and its checkpoint.
          reached += random.nextInt(STEPS_BETWEEN);
          while (await newestStep(folder) < reached) await pause(10);
          await pause((reached === 0 ? 1000 : 150) * random.nextFloat());
          const victim = random.nextInt(RANKS);
          const step = await newestStep(folder);
          const took = await killOne(job, victim);
          console.log(
            `${trainer}: rank ${victim} of ${RANKS} killed after the checkpoint of step ${step}; ` +
              `no process left after ${(took / 1000).toFixed(1)} s`,
          );
        }
        const last = await runs.train([trainer, "killed", RANKS], settings, ["--resume"]);
        assertEquals(last.code, 0);
        for (
          const file of ["final/model.safetensors", `checkpoint-${STEPS}/optimizer.safetensors`]
        ) {
          const [killed, whole] = await Promise.all(
            ["killed", "whole"].map((name) => Deno.readFile(`${runs.folder}/${name}/${file}`)),
          );
          assertEquals(killed, whole, file);
        }
        console.log(`${trainer}: ${KILLS} kills and resumes, ${STEPS} steps, the same bytes`);
      },
    ),
  );
}
