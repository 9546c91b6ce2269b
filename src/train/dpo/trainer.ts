/**
 * DPO as a library class: a model and preference data in, a trained model out.
 *
 * @module
 */
import type { DPOSection } from "../../config/types/config_types.ts";
import type { PreferenceExample } from "../../data/rows/formats.ts";
import { dpoExampleMaker, dpoFacts, dpoGroups, dpoMethod, makeReference } from "./setup.ts";
import { ktoLossType } from "../kto/setup.ts";
import {
  givenModel,
  libraryConfig,
  type LibraryDataOptions,
  LibraryTrainer,
} from "../run/library_trainer.ts";

/** What {@linkcode DPOTrainer} takes: pairs of answers, the `preference` format. */
export interface DPOTrainerOptions extends LibraryDataOptions<PreferenceExample> {
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
export class DPOTrainer extends LibraryTrainer {
  /**
   * @throws {ConfigError} if an option does not exist or has a wrong value
   * @throws {Error} if the model lacks its tokenizer or image processor
   */
  constructor(options: DPOTrainerOptions) {
    const { trainDataset: train, evalDataset: evaluation = null, training, dpo } = options;
    const config = libraryConfig({
      training_type: "dpo",
      dataset: { train_data_path: train.name, dataset_format: "preference" },
      training,
      dpo,
    });
    if (ktoLossType(config) !== null) {
      throw new Error(
        `Cannot train on pairs with dpo.loss_type ${config.dpo.loss_type}: it takes single ` +
          "answers; use KTOTrainer, with data of the format unpaired",
      );
    }
    const prepared = givenModel(options);
    super({
      config,
      prepared,
      setUp: async () => {
        const maker = dpoExampleMaker(prepared, config);
        const groups = dpoGroups(prepared, config);
        const { signal } = options;
        const data = { prepared, maker, groups, train, evaluation };
        const reference = await makeReference({ config, ...data, signal });
        return {
          method: dpoMethod(config, { ...data, reference }),
          groups,
          title: `DPO on ${train.name}`,
          facts: [dpoFacts(config, reference)],
          dispose: () => reference?.dispose(),
        };
      },
    }, options);
  }
}
