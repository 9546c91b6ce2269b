/**
 * DPO as a library class: a model and preference data in, a trained model out.
 *
 * @module
 */
import type { DPOSection, TrainingSection } from "../../config/types/config_types.ts";
import { type DPODataset, DPOMethod } from "./method.ts";
import { dpoExampleMaker, dpoGroups, dpoMethodOptions, makeReference } from "./setup.ts";
import {
  givenModel,
  libraryConfig,
  LibraryRun,
  type LibraryRunOptions,
} from "../run/library_run.ts";
import type { TrainResult } from "../loop/trainer.ts";

/** What {@linkcode DPOTrainer} takes. */
export interface DPOTrainerOptions extends LibraryRunOptions {
  /** Pairs of answers; the `preference` format. */
  readonly trainDataset: DPODataset;
  /** Held out; without it nothing is evaluated. */
  readonly evalDataset?: DPODataset | null;
  /** Keys of the config's section `training`; the defaults are those of `train dpo`. */
  readonly training?: Partial<TrainingSection>;
  /** Keys of the config's section `dpo`: beta, loss_type, … */
  readonly dpo?: Partial<DPOSection>;
}

/**
 * Direct preference optimization (Rafailov et al., 2023, arXiv 2305.18290): makes the chosen answer
 * likelier than the rejected one, measured against the model as it was. Checkpoints, metrics.jsonl
 * and report.html go to `training.output_dir`. The model stays the caller's.
 *
 * @example Train, measure, free
 * ```ts ignore
 * await using trainer = new DPOTrainer({
 *   model,
 *   trainDataset,
 *   evalDataset,
 *   training: { output_dir: "runs/dpo", max_steps: 100, learning_rate: 3e-4 },
 *   dpo: { beta: 0.1 },
 *   callbacks: [{ onLog: ({ step, loss }) => console.log(step, loss) }],
 * });
 * await trainer.train();
 * console.log((await trainer.evaluate())?.eval_preference_accuracy);
 * ```
 */
export class DPOTrainer implements AsyncDisposable {
  readonly #run: LibraryRun;

  /**
   * @throws {ConfigError} where an option does not exist or has a wrong value
   * @throws {Error} where the model lacks its tokenizer or image processor
   */
  constructor(options: DPOTrainerOptions) {
    const { trainDataset: train, evalDataset = null, training, dpo } = options;
    const config = libraryConfig({
      training_type: "dpo",
      dataset: { train_data_path: train.name, dataset_format: "preference" },
      training,
      dpo,
    });
    const prepared = givenModel(options);
    this.#run = new LibraryRun(config, prepared, options, async () => {
      const maker = dpoExampleMaker(prepared, config);
      const groups = dpoGroups(prepared, config);
      const reference = await makeReference({
        config,
        prepared,
        groups,
        maker,
        train,
        evaluation: evalDataset,
        signal: options.signal,
      });
      const method = new DPOMethod(
        prepared.model,
        maker,
        train,
        evalDataset,
        reference,
        dpoMethodOptions(config),
      );
      return {
        method,
        groups,
        title: `DPO on ${train.name}`,
        facts: [{
          title: "DPO",
          facts: [
            ["loss", config.dpo.loss_type.join(" + ")],
            ["beta", config.dpo.beta],
            ["reference", reference?.description ?? "none"],
          ],
        }],
        dispose: () => reference?.dispose(),
      };
    });
  }

  /**
   * Trains. The reference is the model as it is at the first call of `train()` or `evaluate()`.
   *
   * @param options `resume`: a checkpoint's folder, or `auto` for the newest in the output folder
   * @throws {NonFiniteError} where a loss or gradient is not finite
   */
  async train(options: { readonly resume?: string } = {}): Promise<TrainResult> {
    return await this.#run.train(options.resume);
  }

  /**
   * Loss, rewards, margins and preference accuracy on the held-out pairs.
   *
   * @returns null without an `evalDataset`
   */
  async evaluate(): Promise<Readonly<Record<string, number>> | null> {
    return await this.#run.evaluate();
  }

  /** Frees the reference; the model stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run[Symbol.asyncDispose]();
  }
}
