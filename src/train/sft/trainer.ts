/**
 * SFT as a library class: a model and questions with answers in, a trained model out.
 *
 * @module
 */
import type { SFTSection } from "../../config/types/config_types.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import {
  givenModel,
  libraryConfig,
  type LibraryDataOptions,
  LibraryTrainer,
} from "../run/library_trainer.ts";
import { sftGroups, sftMethod } from "./setup.ts";

/** What {@linkcode SFTTrainer} takes: pictures, questions and answers, the `vqa` format. */
export interface SFTTrainerOptions extends LibraryDataOptions<VqaExample> {
  /** Keys of the config's section `sft`: loss_type. */
  readonly sft?: Partial<SFTSection>;
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
export class SFTTrainer extends LibraryTrainer {
  /**
   * @throws {ConfigError} if an option does not exist or has a wrong value
   * @throws {Error} if the model lacks its tokenizer or image processor
   */
  constructor(options: SFTTrainerOptions) {
    const { trainDataset: train, evalDataset: evaluation = null, training, sft } = options;
    const config = libraryConfig({
      training_type: "sft",
      dataset: { train_data_path: train.name, dataset_format: "vqa" },
      training,
      sft,
    });
    const prepared = givenModel(options);
    super({
      config,
      prepared,
      setUp: () =>
        Promise.resolve({
          method: sftMethod(config, { prepared, train, evaluation }),
          groups: sftGroups(prepared, config),
          title: `SFT on ${train.name}`,
          facts: [{
            title: "Data",
            facts: [
              ["training", train.name],
              ["examples", train.length ?? "not known (streamed)"],
              ["held out", evaluation?.length ?? "none"],
            ],
          }],
        }),
    }, options);
  }
}
