import { type JobResult, runJob, startJob } from "../../distributed/mpirun.ts";

/** A very small model, as overrides of any config. */
const TINY_MODEL = {
  model_name_or_path: "initialize",
  load_backbone: false,
  init_position_embedding: "normal",
  initializer_range: 0.12,
  vlm_config: {
    ...{ vit_hidden_dim: 16, vit_inter_dim: 32, vit_patch_size: 8, vit_img_size: 32 },
    ...{ vit_n_heads: 2, vit_n_blocks: 1 },
    ...{ lm_hidden_dim: 16, lm_inter_dim: 32, lm_n_heads: 2, lm_n_kv_heads: 1, lm_n_blocks: 1 },
    ...{ lm_max_length: 96, lm_tokenizer: "builtin:shapes" },
    ...{ mp_pixel_shuffle_factor: 2, mp_image_token_length: 4, max_img_size: 32 },
  },
};

/** A reward that any text earns some of: a tiny untrained model gets gradients from it. */
const REWARD = `export function spread({ completion_ids }) {
  return completion_ids.map((ids) => ids.reduce((sum, id) => (sum * 31 + id) % 101, 7) / 101);
}
`;

const FORMATS = { sft: "vqa", dpo: "preference", grpo: "grpo", gkd: "vqa" };

/** Settings of a run, by key path. */
export type Settings = Readonly<Record<string, unknown>>;

/** The config of a run of a very small model on the embedded drawings, without reward functions. */
export function tinyRunConfig(trainer: "sft" | "dpo" | "grpo" | "gkd") {
  return {
    training_type: trainer,
    model: TINY_MODEL,
    dataset: {
      train_data_path: "builtin:shapes",
      train_split: "train",
      dataset_format: FORMATS[trainer],
    },
    training: { learning_rate: 2e-3, lr_mp: 2e-3, seed: 42, eval_strategy: "no" },
    ...trainer === "grpo"
      ? {
        grpo: {
          ...{ num_generations: 4, max_prompt_length: 64, max_completion_length: 6 },
          ...{ mask_truncated_completions: false, temperature: 1 },
        },
      }
      : {},
  };
}

/** Runs of a folder: a very small model on the embedded drawings. */
export class RankRuns implements AsyncDisposable {
  private constructor(readonly folder: string, readonly backend: string) {}

  /**
   * In a new folder.
   *
   * @param reward the module of GRPO's reward function
   */
  static async open(backend = "wasm", reward = REWARD): Promise<RankRuns> {
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/reward.ts`, reward);
    for (const trainer of ["sft", "dpo", "grpo", "gkd"] as const) {
      const config = tinyRunConfig(trainer);
      const { dataset } = config;
      // JSON is YAML.
      const written = {
        ...config,
        ...trainer === "grpo"
          ? { dataset: { ...dataset, reward_functions_fn: [`${folder}/reward.ts`] } }
          : {},
        // A teacher is there once a run of that name has trained one.
        ...trainer === "gkd"
          ? { gkd: { teacher_model_name_or_path: `${folder}/teacher/final`, max_new_tokens: 6 } }
          : {},
      };
      await Deno.writeTextFile(`${folder}/${trainer}.yaml`, JSON.stringify(written));
    }
    return new RankRuns(folder, backend);
  }

  /** The command line of a run in the subfolder `name`. */
  arguments(trainer: string, name: string, settings: Settings, more: string[] = []): string[] {
    const all = {
      "training.logging_steps": 1,
      "training.save_strategy": "no",
      "save.save_model_path": `${this.folder}/${name}/final`,
      ...settings,
    };
    return [
      ...["mod.ts", "train", trainer, "--config", `${this.folder}/${trainer}.yaml`],
      ...["--backend", this.backend, "--output-dir", `${this.folder}/${name}`, ...more],
      ...Object.entries(all).flatMap((
        [key, value],
      ) => ["--set", `${key}=${JSON.stringify(value)}`]),
    ];
  }

  /** Trains on some ranks. */
  async train(
    [trainer, name, ranks]: readonly [trainer: string, name: string, ranks: number],
    settings: Settings,
    more: string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<JobResult> {
    const result = await runJob(ranks, this.arguments(trainer, name, settings, more), { env });
    if (result.code !== 0) console.error(result.stderr);
    return result;
  }

  /** Starts a run on some ranks. */
  start(
    [trainer, name, ranks]: readonly [trainer: string, name: string, ranks: number],
    settings: Settings,
    more: string[] = [],
  ): Deno.ChildProcess {
    return startJob(ranks, this.arguments(trainer, name, settings, more));
  }

  /** One metric of each logged step that has it. */
  async metric(name: string, metric: string): Promise<number[]> {
    const text = await Deno.readTextFile(`${this.folder}/${name}/metrics.jsonl`);
    return text.trim().split("\n").map((line) => JSON.parse(line))
      .filter((record) => metric in record).map((record) => record[metric]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}
