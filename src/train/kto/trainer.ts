/**
 * KTO as a library class: a model and answers that are good or bad in, a trained model out.
 *
 * @module
 */
import type { DPOSection } from "../../config/types/config_types.ts";
import type { UnpairedExample } from "../../data/rows/formats.ts";
import { configuredGroups, splitByDecay } from "../optimizer/parameter_groups.ts";
import {
  givenModel,
  libraryConfig,
  type LibraryDataOptions,
  LibraryTrainer,
} from "../run/library_trainer.ts";
import { ktoFacts, ktoMethod } from "./setup.ts";

/** What {@linkcode KTOTrainer} takes: answers with labels, the `unpaired` format. */
export interface KTOTrainerOptions extends LibraryDataOptions<UnpairedExample> {
  /** Keys of the config's section `dpo`: beta, desirable_weight, …; loss_type is `kto` by default. */
  readonly dpo?: Partial<DPOSection>;
}

/**
 * Kahneman-Tversky optimization (Ethayarajh et al., 2024, arXiv 2402.01306): makes good answers
 * likelier and bad ones less likely, with no pairs. Checkpoints, metrics.jsonl and report.html go to
 * `training.output_dir`. The model stays the caller's.
 *
 * @example Train on answers with labels
 * ```ts ignore
 * await using trainer = new KTOTrainer({
 *   model,
 *   trainDataset: await loadDataset({ path: "answers.jsonl", format: "unpaired" }),
 *   training: { output_dir: "runs/kto", max_steps: 100, learning_rate: 3e-4 },
 *   dpo: { beta: 0.1 },
 * });
 * await trainer.train();
 * ```
 */
export class KTOTrainer extends LibraryTrainer {
  /**
   * @throws {ConfigError} if an option does not exist or has a wrong value
   * @throws {Error} if the model lacks its tokenizer or image processor
   */
  constructor(options: KTOTrainerOptions) {
    const { trainDataset: train, evalDataset: evaluation = null, training, dpo } = options;
    const config = libraryConfig({
      training_type: "dpo",
      dataset: { train_data_path: train.name, dataset_format: "preference" },
      training,
      dpo: { loss_type: ["kto"], ...dpo },
    });
    const prepared = givenModel(options);
    super({
      config,
      prepared,
      setUp: () => {
        const groups = splitByDecay(configuredGroups(prepared.model, config.training));
        const { method, dispose } = ktoMethod(config, { prepared, train, evaluation, groups });
        return Promise.resolve({
          method,
          groups,
          title: `KTO on ${train.name}`,
          facts: [ktoFacts(config)],
          dispose,
        });
      },
    }, options);
  }
}
