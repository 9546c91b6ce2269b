/**
 * GRPO and its variants as a library class: a model, prompts and reward modules in, a trained model
 * out.
 *
 * @module
 */
import type { GRPOSection, RewardOptions } from "../../config/types/config_types.ts";
import type { GrpoExample } from "../../data/rows/formats.ts";
import { startModules } from "./episodes/start_modules.ts";
import { completionsToPrint, grpoFacts, grpoGroups, grpoMethod } from "./setup.ts";
import {
  givenModel,
  libraryConfig,
  type LibraryDataOptions,
  LibraryTrainer,
} from "../run/library_trainer.ts";

/**
 * What {@linkcode GRPOTrainer} takes: prompts with the columns that the rewards need, the `grpo`
 * format.
 */
export interface GRPOTrainerOptions extends LibraryDataOptions<GrpoExample> {
  /** Paths, specifiers or built-in names; each module runs in a sandbox of its own. */
  readonly rewardFunctions: readonly string[];
  /** What modules or single functions may do and weigh, by path or name. */
  readonly rewards?: Readonly<Record<string, Partial<RewardOptions>>>;
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
export class GRPOTrainer extends LibraryTrainer {
  /**
   * @throws {ConfigError} if an option does not exist or has a wrong value
   * @throws {Error} if the model lacks its tokenizer or image processor
   */
  constructor(options: GRPOTrainerOptions) {
    const { trainDataset: train, evalDataset: evaluation = null, training, grpo, rewards } =
      options;
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
    super({
      config,
      prepared,
      setUp: async (reporter) => {
        const groups = grpoGroups(prepared, config);
        const modules = await startModules(config, (line) => reporter()?.onModuleLine(line));
        const { scorer } = modules;
        const { method, dispose } = grpoMethod(config, {
          prepared,
          train,
          evaluation,
          ...modules,
          groups,
          onCompletions: (rows) => reporter()?.onCompletions(rows),
        });
        return {
          method,
          groups,
          title: `GRPO (${config.grpo.loss_type}) on ${train.name}`,
          facts: [grpoFacts(config, scorer)],
          completionsToPrint: completionsToPrint(config),
          async dispose() {
            dispose();
            await modules[Symbol.asyncDispose]();
          },
        };
      },
    }, options);
  }
}
