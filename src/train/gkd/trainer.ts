/**
 * GKD as a library class: a student, a teacher and conversations in, a distilled student out.
 *
 * @module
 */
import type { GKDSection } from "../../config/types/config_types.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import {
  givenModel,
  libraryConfig,
  type LibraryDataOptions,
  LibraryTrainer,
} from "../run/library_trainer.ts";
import { gkdFacts, gkdGroups, gkdMethod } from "./setup.ts";
import { checkTeacher, Teacher } from "./teacher.ts";

/** What {@linkcode GKDTrainer} takes: conversations, the `vqa` format, and a teacher. */
export interface GKDTrainerOptions extends LibraryDataOptions<VqaExample> {
  /** With the student's tokenizer and image processor; it stays the caller's and is not changed. */
  readonly teacher: VisionLanguageModel;
  /** Keys of the config's section `gkd`: lmbda, beta, seq_kd, … */
  readonly gkd?: Partial<Omit<GKDSection, "teacher_model_name_or_path">>;
}

/**
 * Generalized knowledge distillation (Agarwal et al., 2024, arXiv 2306.13649): the student learns the
 * teacher's distributions over the tokens of answers, in a share of the steps of its own answers.
 * Checkpoints, metrics.jsonl and report.html go to `training.output_dir`. Both models stay the
 * caller's.
 *
 * @example Distil a large model into a small one
 * ```ts ignore
 * await using trainer = new GKDTrainer({
 *   model: small,
 *   teacher: large,
 *   trainDataset: await loadDataset({ path: "questions.jsonl", format: "vqa" }),
 *   training: { output_dir: "runs/distilled", max_steps: 100, learning_rate: 3e-4 },
 *   gkd: { lmbda: 0.5, beta: 0.5, max_new_tokens: 32 },
 * });
 * await trainer.train();
 * ```
 */
export class GKDTrainer extends LibraryTrainer {
  /**
   * @throws {ConfigError} if an option does not exist or has a wrong value
   * @throws {Error} if a model lacks its tokenizer or image processor, or the teacher does not fit
   */
  constructor(options: GKDTrainerOptions) {
    const { trainDataset: train, evalDataset: evaluation = null, training, gkd } = options;
    const config = libraryConfig({
      training_type: "gkd",
      dataset: { train_data_path: train.name, dataset_format: "vqa" },
      training,
      gkd: { ...gkd, teacher_model_name_or_path: "given" },
    });
    const prepared = givenModel(options);
    const { model, tokenizer, imageProcessor } = {
      model: options.teacher,
      tokenizer: options.teacher.tokenizer,
      imageProcessor: options.teacher.imageProcessor,
    };
    if (tokenizer === null || imageProcessor === null) {
      throw new Error(
        `Cannot distil: the teacher has no ${
          tokenizer === null ? "tokenizer" : "image processor"
        }; set its tokenizer and imageProcessor`,
      );
    }
    const teacher = new Teacher({ model, tokenizer, imageProcessor }, "given", false);
    checkTeacher(prepared, teacher.loaded, "the given teacher");
    super({
      config,
      prepared,
      setUp: () =>
        Promise.resolve({
          method: gkdMethod(config, { prepared, teacher, train, evaluation }),
          groups: gkdGroups(prepared, config),
          title: `GKD on ${train.name}`,
          facts: [gkdFacts(config, teacher)],
        }),
    }, options);
  }
}
