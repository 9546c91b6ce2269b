/**
 * How close GRPO on two ranks, each with one thread, comes to half the time of one rank with the same
 * total work, on a machine that others use too.
 *
 * Wall time says nothing there, so processor time is measured: between two calls to the other ranks,
 * each rank's own. The time of a step on ranks with a core each is the sum, over these stretches, of
 * the slower rank's; waiting and exchanging are not in it. Reward processes are not in it either (this
 * reward takes microseconds).
 *
 * deno run -A bench/ranks/grpo_efficiency.ts [ROUNDS] [PROMPTS] [TOKENS]
 *
 * PROMPTS of a rank and step (2), TOKENS of a completion at most (24).
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { parseConfig } from "../../src/config/load_config.ts";
import { EMBEDDED_CONFIGS } from "../../src/config/embedded/embedded_configs.ts";
import { launch } from "../../src/distributed/launcher.ts";
import { gatherJson, type Ranks, setCurrentRanks } from "../../src/distributed/ranks.ts";
import { startRanks } from "../../src/distributed/start_ranks.ts";
import { wholeBatchConfig } from "../../src/distributed/whole_batch.ts";
import { runGRPO } from "../../src/train/grpo/run.ts";

const RANKS = 2;
/** The first steps compile and measure products; they are not counted. */
const STEPS = 6, WARM_UP = 2;

const REWARD = `export function spread({ completion_ids }) {
  return completion_ids.map((ids) => ids.reduce((sum, id) => (sum * 31 + id) % 101, 7) / 101);
}
`;

/** A model whose products count, with completions of uneven length. */
const SETTINGS = [
  ...["model.vlm_config.lm_hidden_dim=256", "model.vlm_config.lm_inter_dim=768"],
  ...["model.vlm_config.lm_n_blocks=4", "model.vlm_config.vit_hidden_dim=128"],
  ...["model.vlm_config.vit_inter_dim=512", "model.vlm_config.vit_n_blocks=3"],
  `training.max_steps=${STEPS}`,
  ...["training.eval_strategy=no", "training.save_strategy=no", "training.logging_steps=1"],
  ...["grpo.num_generations=8", "grpo.max_prompt_length=64"],
  ...["grpo.mask_truncated_completions=false", "grpo.beta=0.05", "grpo.log_completions=false"],
  ...["dataset.max_samples=120", "logging.report_to=[]"],
];

/** Processor seconds of this process, all its threads. */
function processorSeconds(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1e6;
}

/** What a rank used between its calls to others. */
interface Stretch {
  readonly step: number;
  readonly before: string;
  readonly seconds: number;
}

/** Notes what a rank uses between two calls to other ranks. */
class MeasuredRanks implements Ranks {
  step = 0;
  readonly stretches: Stretch[] = [];
  #last = processorSeconds();

  constructor(readonly inner: Ranks) {}

  get rank() {
    return this.inner.rank;
  }
  get size() {
    return this.inner.size;
  }
  get hosts() {
    return this.inner.hosts;
  }
  get description() {
    return this.inner.description;
  }
  get secondsInCalls() {
    return this.inner.secondsInCalls;
  }

  /** Ends a stretch. */
  note(before: string): void {
    const now = processorSeconds();
    this.stretches.push({ step: this.step, before, seconds: now - this.#last });
    this.#last = now;
  }

  async #call<T>(what: string, call: () => Promise<T>): Promise<T> {
    this.note(what);
    try {
      return await call();
    } finally {
      this.#last = processorSeconds();
    }
  }

  sum: Ranks["sum"] = (values, what) => this.#call(what, () => this.inner.sum(values, what));
  exchange: Ranks["exchange"] = (bytes, what) =>
    this.#call(what, () => this.inner.exchange(bytes, what));
  gather: Ranks["gather"] = (bytes, what, options) =>
    this.#call(what, () => this.inner.gather(bytes, what, options));
  broadcast: Ranks["broadcast"] = (bytes, what, options) =>
    this.#call(what, () => this.inner.broadcast(bytes, what, options));
  barrier: Ranks["barrier"] = (what, options) =>
    this.#call(what, () => this.inner.barrier(what, options));
  close = () => this.inner.close();
  abort = (code: number) => this.inner.abort(code);
}

/** How much a rank does in a step. */
interface Work {
  readonly prompts: string;
  /** Of a completion at most. */
  readonly tokens: string;
}

/** One rank of a run; rank 0 prints the stretches of all ranks. */
async function trainRank(
  folder: string,
  accumulation: string,
  { prompts, tokens }: Work,
): Promise<void> {
  const inner = await startRanks();
  const ranks = new MeasuredRanks(inner);
  setCurrentRanks(ranks);
  const config = parseConfig(EMBEDDED_CONFIGS.sft.text.replace(/^training_type:.*/m, ""), {
    trainingType: "grpo",
    overrides: [
      ...["dataset.dataset_format=grpo", `dataset.reward_functions_fn=[${folder}/reward.ts]`],
      ...["dataset.split_turns=false", "training.learning_rate=1e-4", "training.lr_mp=1e-4"],
      `training.gradient_accumulation_steps=${accumulation}`,
      `training.output_dir=${folder}/run`,
      `save.save_model_path=${folder}/final`,
      `training.per_device_train_batch_size=${prompts}`,
      `grpo.max_completion_length=${tokens}`,
      ...SETTINGS,
    ],
  });
  await runGRPO(wholeBatchConfig(config, ranks.size), {
    backend: "wasm",
    callbacks: [{
      onStepEnd({ step }) {
        ranks.note("the end of the step");
        ranks.step = step;
      },
    }],
  });
  const all = await gatherJson(inner, ranks.stretches, "the times");
  if (inner.rank === 0) console.log(JSON.stringify(all));
  await inner.close();
}

async function measure(size: number, { prompts, tokens }: Work): Promise<Stretch[][]> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/reward.ts`, REWARD);
    const { stdout, stderr, success } = await new Deno.Command("mpirun", {
      args: [
        ...["-n", String(size), "--oversubscribe", "--bind-to", "none"],
        ...[Deno.execPath(), "run", "-A", "--no-check", "--quiet", import.meta.filename!],
        ...[folder, String(RANKS / size), prompts, tokens],
      ],
      env: {
        ...{ OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
        ...{ NANOVLM_THREADS: "1", NO_COLOR: "1", OMPI_MCA_mpi_yield_when_idle: "1" },
      },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    if (!success) throw new Error(text(stderr));
    return JSON.parse(text(stdout).trim().split("\n").at(-1)!);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Seconds a step: of the slower rank, and of a rank on average; and where ranks differ the most. */
function summary(ranks: readonly Stretch[][]) {
  const steps = STEPS - WARM_UP;
  let critical = 0, mean = 0;
  const differences = new Map<string, number>();
  ranks[0].forEach(({ step, before }, i) => {
    if (step < WARM_UP) return;
    const all = ranks.map((one) => one[i]?.seconds ?? 0);
    const longest = Math.max(...all);
    const average = all.reduce((sum, seconds) => sum + seconds, 0) / all.length;
    critical += longest / steps;
    mean += average / steps;
    differences.set(before, (differences.get(before) ?? 0) + (longest - average) / steps);
  });
  return { critical, mean, differences };
}

if (import.meta.main) {
  const [first, second, third, fourth] = Deno.args;
  if (launch() !== null) await trainRank(first, second, { prompts: third, tokens: fourth });
  else {
    const work: Work = { prompts: second ?? "2", tokens: third ?? "24" };
    for (let round = 1; round <= Number(first ?? 3); round++) {
      const one = summary(await measure(1, work)).critical;
      const { critical, mean, differences } = summary(await measure(RANKS, work));
      const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
      console.log(
        `round ${round}: one rank ${one.toFixed(3)} s a step; of two ranks ${mean.toFixed(3)} s ` +
          `each, the slower one at each place ${critical.toFixed(3)} s: ` +
          `${percent(one / RANKS / critical)} of perfect ` +
          `(work that both do: ${percent(1 - one / RANKS / mean)}, waiting: ${
            percent(1 - mean / critical)
          })`,
      );
      const largest = [...differences].sort(([, a], [, b]) => b - a).slice(0, 4);
      for (const [before, seconds] of largest) {
        console.log(`  a rank waits ${seconds.toFixed(3)} s a step for ${before}`);
      }
    }
  }
}
