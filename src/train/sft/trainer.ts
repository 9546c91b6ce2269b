/**
 * SFT as a library class: a model and questions with answers in, a trained model out.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import {
  givenModel,
  libraryConfig,
  LibraryRun,
  type LibraryRunOptions,
} from "../run/library_run.ts";
import type { SFTDataset } from "./method.ts";
import { sftGroups, sftMethod } from "./setup.ts";
import type { TrainResult } from "../loop/trainer.ts";

/** What {@linkcode SFTTrainer} takes. */
export interface SFTTrainerOptions extends LibraryRunOptions {
  /** Pictures, questions and answers; the `vqa` format. */
  readonly trainDataset: SFTDataset;
  /** Held out; without it nothing is evaluated. */
  readonly evalDataset?: SFTDataset | null;
  /** Keys of the config's section `training`; the defaults are those of `train sft`. */
  readonly training?: Partial<TrainingSection>;
}

/**
 * Supervised fine-tuning: makes the recorded answers likelier. Checkpoints, metrics.jsonl and
 * report.html go to `training.output_dir`. The model stays the caller's.
 *
 * @example Train, measure, save, free
 * ```ts ignore
 * await using trainer = new SFTTrainer({
 *   model,
 *   trainDataset: await loadDataset({ path: "questions.jsonl", format: "vqa" }),
 *   training: { output_dir: "runs/mine", max_steps: 100, learning_rate: 3e-4 },
 *   callbacks: [{ onLog: ({ step, loss }) => console.log(step, loss) }],
 * });
 * await trainer.train();
 * console.log((await trainer.evaluate())?.eval_loss);
 * await model.savePretrained("my_model");
 * ```
 */
export class SFTTrainer implements AsyncDisposable {
  readonly #run: LibraryRun;

  /**
   * @throws {ConfigError} where an option does not exist or has a wrong value
   * @throws {Error} where the model lacks its tokenizer or image processor
   */
  constructor(options: SFTTrainerOptions) {
    const { trainDataset: train, evalDataset = null, training } = options;
    const config = libraryConfig({
      training_type: "sft",
      dataset: { train_data_path: train.name, dataset_format: "vqa" },
      training,
    });
    const prepared = givenModel(options);
    this.#run = new LibraryRun(config, prepared, options, () =>
      Promise.resolve({
        method: sftMethod(prepared, config.training, train, evalDataset),
        groups: sftGroups(prepared, config.training),
        title: `SFT on ${train.name}`,
        facts: [{
          title: "Data",
          facts: [
            ["training", train.name],
            ["examples", train.length ?? "not known (streamed)"],
            ["held out", evalDataset?.length ?? "none"],
          ],
        }],
      }));
  }

  /**
   * Trains.
   *
   * @param options `resume`: a checkpoint's folder, or `auto` for the newest in the output folder
   * @throws {NonFiniteError} where a loss or gradient is not finite
   */
  async train(options: { readonly resume?: string } = {}): Promise<TrainResult> {
    return await this.#run.train(options.resume);
  }

  /**
   * The loss on the held-out questions.
   *
   * @returns null without an `evalDataset`
   */
  async evaluate(): Promise<Readonly<Record<string, number>> | null> {
    return await this.#run.evaluate();
  }

  /** Frees what the trainer holds; the model stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run[Symbol.asyncDispose]();
  }
}
