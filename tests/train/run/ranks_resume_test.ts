import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { endOf, withMpirun } from "../../distributed/mpirun.ts";
import { childrenOf } from "../../distributed/processes.ts";
import { RankRuns } from "./rank_runs.ts";

const BATCH = "training.per_device_train_batch_size";
const ACCUMULATION = "training.gradient_accumulation_steps";

/** The bytes of a run's final weights. */
async function weights(runs: RankRuns, name: string): Promise<Uint8Array> {
  return await Deno.readFile(`${runs.folder}/${name}/final/model.safetensors`);
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

async function waitFor(path: string): Promise<void> {
  while (!await exists(path)) await new Promise((resolve) => setTimeout(resolve, 20));
}

const TWO = { [BATCH]: 2, "training.save_strategy": "steps", "training.save_total_limit": 20 };

Deno.test(
  withMpirun("a run goes on with the same, fewer or more ranks on the same rows", async () => {
    await using runs = await RankRuns.open();
    const whole = { "training.max_steps": 8, "training.save_steps": 4 };
    assertEquals((await runs.train(["sft", "whole", 2], { ...TWO, ...whole })).code, 0);
    const checkpoint = `${runs.folder}/whole/checkpoint-4`;
    const expected = (await runs.metric("whole", "loss")).slice(4);
    const cases = [["same", 2, 2, 1], ["fewer", 1, 2, 2], ["more", 4, 1, 1]] as const;
    for (const [name, ranks, batch, accumulation] of cases) {
      const settings = { ...TWO, ...whole, [BATCH]: batch, [ACCUMULATION]: accumulation };
      const { code } = await runs.train(["sft", name, ranks], settings, ["--resume", checkpoint]);
      assertEquals(code, 0, name);
      const losses = await runs.metric(name, "loss");
      assertEquals(losses.length, 4, name);
      losses.forEach((loss, i) => assertAlmostEquals(loss, expected[i], 1e-6 * expected[i], name));
    }
    assertEquals(await weights(runs, "same"), await weights(runs, "whole"));
    // Another batch of all ranks together would be other rows.
    const other = await runs.train(["sft", "other", 1], { ...TWO, ...whole, [ACCUMULATION]: 1 }, [
      ...["--resume", checkpoint],
    ]);
    assertEquals(other.code, 1);
    assertMatch(other.stderr, /gradient_accumulation_steps was 2 and is 1/);
  }),
);

Deno.test(
  withMpirun("a killed rank ends the job, and the run goes on to the same bytes", async () => {
    await using runs = await RankRuns.open();
    const settings = { ...TWO, "training.max_steps": 8, "training.save_steps": 1 };
    assertEquals((await runs.train(["sft", "whole", 2], settings)).code, 0);
    for (const [step, victim] of [[2, 1], [5, 0]]) {
      const job = runs.start(["sft", "killed", 2], settings, step === 2 ? [] : ["--resume"]);
      const ended = endOf(job);
      await waitFor(`${runs.folder}/killed/checkpoint-${step}`);
      const ranks = await childrenOf(job.pid);
      assertEquals(ranks.length, 2);
      Deno.kill(ranks[victim], "SIGKILL");
      const { code, stderr } = await ended;
      assert(code !== 0);
      assertMatch(stderr, /rank \d+ with PID .* on node .* signal 9/);
      for (const pid of ranks) assert(!await exists(`/proc/${pid}/exe`), "an orphan");
    }
    assertEquals((await runs.train(["sft", "killed", 2], settings, ["--resume"])).code, 0);
    assertEquals(await weights(runs, "killed"), await weights(runs, "whole"));
  }),
);

Deno.test(
  withMpirun(
    "SIGUSR2 to mpirun, or SIGTERM to a rank, saves on all and ends with 130",
    async () => {
      await using runs = await RankRuns.open();
      const settings = { ...TWO, "training.max_steps": 200, "training.save_steps": 1000 };
      for (const [name, signal] of [["all", "SIGUSR2"], ["rank", "SIGTERM"]] as const) {
        const job = runs.start(["sft", name, 2], settings);
        const ended = endOf(job);
        await waitFor(`${runs.folder}/${name}/metrics.jsonl`);
        await new Promise((resolve) => setTimeout(resolve, 1000));
        Deno.kill(name === "all" ? job.pid : (await childrenOf(job.pid))[1], signal);
        const { code, stderr } = await ended;
        assertEquals(code, 130, stderr);
        assertMatch(stderr, /go on with the same command and --resume: step \d+ is saved/);
      }
    },
  ),
);

Deno.test(
  withMpirun("a rank that is told to stop while it loads ends the job with 130", async () => {
    await using runs = await RankRuns.open();
    const job = runs.start(["sft", "loading", 2], { ...TWO, "training.max_steps": 200 });
    const ended = endOf(job);
    let ranks: number[] = [];
    while (ranks.length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ranks = await childrenOf(job.pid);
    }
    // Once the output folder is there, the run has begun to load.
    await waitFor(`${runs.folder}/loading`);
    Deno.kill(ranks[1], "SIGTERM");
    assertEquals((await ended).code, 130);
  }),
);
