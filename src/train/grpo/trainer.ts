/**
 * GRPO and its variants as a library class: a model, prompts and reward modules in, a trained model
 * out.
 *
 * @module
 */
import type {
  GRPOSection,
  RewardOptions,
  TrainingSection,
} from "../../config/types/config_types.ts";
import type { GRPODataset } from "./prompt_stream.ts";
import { CompletionScorer } from "./scoring.ts";
import { grpoGroups, grpoMethod } from "./setup.ts";
import {
  givenModel,
  libraryConfig,
  LibraryRun,
  type LibraryRunOptions,
} from "../run/library_run.ts";
import type { TrainResult } from "../loop/trainer.ts";

/** What {@linkcode GRPOTrainer} takes. */
export interface GRPOTrainerOptions extends LibraryRunOptions {
  /** Prompts, with the columns that the rewards need; the `grpo` format. */
  readonly trainDataset: GRPODataset;
  /** Held out; without it nothing is evaluated. */
  readonly evalDataset?: GRPODataset | null;
  /** Paths, specifiers or built-in names; each module runs in a sandbox of its own. */
  readonly rewardFunctions: readonly string[];
  /** What modules or single functions may do and weigh, by path or name. */
  readonly rewards?: Readonly<Record<string, Partial<RewardOptions>>>;
  /** Keys of the config's section `training`; the defaults are those of `train grpo`. */
  readonly training?: Partial<TrainingSection>;
  /** Keys of the config's section `grpo`: num_generations, loss_type, … */
  readonly grpo?: Partial<GRPOSection>;
}

/**
 * Group relative policy optimization (Shao et al., 2024, arXiv 2402.03300) and its variants: samples
 * several answers to a prompt, scores them, and makes those likelier that beat their group's mean.
 * Checkpoints, completions.jsonl, metrics.jsonl and report.html go to `training.output_dir`. The
 * model stays the caller's.
 *
 * @example Train, measure, end the sandboxes
 * ```ts ignore
 * await using trainer = new GRPOTrainer({
 *   model,
 *   trainDataset,
 *   evalDataset,
 *   rewardFunctions: ["builtin:exact_match", "./reward_functions/my_own.ts"],
 *   training: { output_dir: "runs/grpo", max_steps: 100, learning_rate: 3e-4 },
 *   grpo: { num_generations: 8, max_completion_length: 16 },
 *   callbacks: [{ onLog: ({ step, reward }) => console.log(step, reward) }],
 * });
 * await trainer.train();
 * console.log((await trainer.evaluate())?.eval_reward);
 * ```
 */
export class GRPOTrainer implements AsyncDisposable {
  readonly #run: LibraryRun;

  /**
   * @throws {ConfigError} where an option does not exist or has a wrong value
   * @throws {Error} where the model lacks its tokenizer or image processor
   */
  constructor(options: GRPOTrainerOptions) {
    const { trainDataset: train, evalDataset = null, training, grpo, rewards } = options;
    const config = libraryConfig({
      training_type: "grpo",
      dataset: {
        train_data_path: train.name,
        dataset_format: "grpo",
        reward_functions_fn: [...options.rewardFunctions],
      },
      training,
      grpo,
      rewards,
    });
    const prepared = givenModel(options);
    this.#run = new LibraryRun(config, prepared, options, async (reporter) => {
      const groups = grpoGroups(prepared, config);
      const scorer = await CompletionScorer.start(config, (line) => reporter()?.onWarning(line));
      const { method, dispose } = grpoMethod(config, {
        prepared,
        train,
        evaluation: evalDataset,
        scorer,
        groups,
        onCompletions: (rows) => reporter()?.onCompletions(rows),
      });
      return {
        method,
        groups,
        title: `GRPO (${config.grpo.loss_type}) on ${train.name}`,
        facts: [{
          title: "GRPO",
          facts: [
            ["loss", config.grpo.loss_type],
            ["completions a prompt", config.grpo.num_generations],
            ["rewards", scorer.names.join(", ")],
          ],
        }],
        completionsToPrint: config.grpo.log_completions ? config.grpo.num_completions_to_print : 0,
        async dispose() {
          dispose();
          await scorer[Symbol.asyncDispose]();
        },
      };
    });
  }

  /**
   * Trains.
   *
   * @param options `resume`: a checkpoint's folder, or `auto` for the newest in the output folder
   * @throws {NonFiniteError} where a loss or gradient is not finite
   * @throws {RewardModuleError} where a reward module cannot be used
   */
  async train(options: { readonly resume?: string } = {}): Promise<TrainResult> {
    return await this.#run.train(options.resume);
  }

  /**
   * Mean rewards of greedy answers to the held-out prompts.
   *
   * @returns null without an `evalDataset`
   */
  async evaluate(): Promise<Readonly<Record<string, number>> | null> {
    return await this.#run.evaluate();
  }

  /** Ends the sandboxes and frees the reference; the model stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run[Symbol.asyncDispose]();
  }
}
