/**
 * What the trainers of the library share: the caller's model and data, a config made of their
 * options, a run in an output folder. The caller keeps model and data.
 *
 * @module
 */
import { parseConfig } from "../../config/load_config.ts";
import type { ResolvedConfig, TrainingSection } from "../../config/types/config_types.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { activeBackend } from "../../device/backend.ts";
import type { LoraConfig } from "../../model/files/adapter_files.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { Reporter } from "../../report/reporter.ts";
import type { EncodedExample } from "../batches/example_stream.ts";
import type { TrainerCallback, TrainResult } from "../loop/trainer.ts";
import { trainingPrecision } from "../loop/training_precision.ts";
import type { PreparedModel } from "./prepare_model.ts";
import { driveRun, type RunSetup } from "./run_driver.ts";

/** What every trainer of the library takes beside its data. */
export interface LibraryRunOptions {
  /** What trains, on the current backend, with its tokenizer and image processor. */
  readonly model: VisionLanguageModel;
  /** How its adapters were made, if it has any; written beside them. */
  readonly loraConfig?: LoraConfig;
  readonly callbacks?: readonly TrainerCallback[];
  /** Aborted: the run saves a checkpoint and stops. */
  readonly signal?: AbortSignal;
}

/** {@linkcode LibraryRunOptions} with the data, `E` an example of its format. */
export interface LibraryDataOptions<E extends EncodedExample> extends LibraryRunOptions {
  readonly trainDataset: Dataset<E> | StreamingDataset<E>;
  /** Held out; without it nothing is evaluated. */
  readonly evalDataset?: Dataset<E> | StreamingDataset<E> | null;
  /** Keys of the config's section `training`; the defaults are those of the command line. */
  readonly training?: Partial<TrainingSection>;
}

/**
 * The config of a trainer's options; missing keys get the defaults of a YAML file.
 *
 * @throws {ConfigError} for a key that does not exist or a value of the wrong kind
 */
export function libraryConfig(sections: {
  readonly training_type: ResolvedConfig["training_type"];
  readonly dataset: Partial<ResolvedConfig["dataset"]>;
  readonly [section: string]: unknown;
}): ResolvedConfig {
  const given = { model: { model_name_or_path: "given" }, ...sections };
  // JSON is YAML, and it leaves out what is undefined.
  return parseConfig(JSON.stringify(given), { file: "the trainer's options" });
}

/**
 * The caller's model with its tokenizer and image processor.
 *
 * @throws {Error} if it lacks one of them, or has adapters and no loraConfig to save them with
 */
export function givenModel({ model, loraConfig }: LibraryRunOptions): PreparedModel {
  const { tokenizer, imageProcessor } = model;
  if (tokenizer === null || imageProcessor === null) {
    throw new Error(
      `Cannot train: the model has no ${tokenizer === null ? "tokenizer" : "image processor"}` +
        (model.tokenizerProblem === "" ? "" : ` (${model.tokenizerProblem})`) +
        "; set its tokenizer and imageProcessor",
    );
  }
  if (model.adapters.size > 0 && loraConfig === undefined) {
    throw new Error(
      `Cannot train: ${model.adapters.size} layers of the model have adapters, and checkpoints ` +
        "need to say how they were made; give loraConfig",
    );
  }
  return {
    model,
    tokenizer,
    imageProcessor,
    loraConfig: model.adapters.size > 0 ? loraConfig! : null,
    origin: "given",
    warnings: [],
  };
}

/** How {@linkcode LibraryTrainer.train} begins. */
export interface LibraryTrainOptions {
  /** A checkpoint's folder, or `auto` for the newest in the output folder; default: begin anew. */
  readonly resume?: string;
  /**
   * Resumes even if data, seed, batch size or backend are not the checkpoint's, so that the run
   * cannot go on as if it had never stopped; default false.
   */
  readonly resumeAnyway?: boolean;
}

/** What {@linkcode LibraryTrainer} is made of. */
export interface LibraryTrainerParts {
  /** Filled in. */
  readonly config: ResolvedConfig;
  /** The caller's model. */
  readonly prepared: PreparedModel;
  /**
   * Makes the method out of the model as it is then.
   *
   * @param reporter gives the reporter of the run that is going on; null while nothing is trained
   */
  readonly setUp: (reporter: () => Reporter | null) => Promise<RunSetup>;
}

/**
 * What SFTTrainer, DPOTrainer and GRPOTrainer share: set up when it is first needed, freed when it
 * is disposed of. The model stays the caller's.
 */
export abstract class LibraryTrainer implements AsyncDisposable {
  readonly #parts: LibraryTrainerParts;
  readonly #options: LibraryRunOptions;
  #setup: Promise<RunSetup> | null = null;
  #reporter: Reporter | null = null;

  /**
   * @param parts what the subclass makes out of its options
   * @param options callbacks and signal
   */
  protected constructor(parts: LibraryTrainerParts, options: LibraryRunOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  #ready(): Promise<RunSetup> {
    this.#setup ??= this.#parts.setUp(() => this.#reporter);
    return this.#setup;
  }

  /** Runs `use` with the caller's model in the run's precision, and restores its own after that. */
  async #inPrecision<T>(use: () => Promise<T>): Promise<T> {
    const { config, prepared: { model } } = this.#parts;
    const before = model.precision;
    model.precision = trainingPrecision(config.training);
    try {
      return await use();
    } finally {
      model.precision = before;
    }
  }

  /**
   * Trains, with all files of a run: checkpoints, metrics.jsonl, report.html. The first call of
   * `train()` or `evaluate()` makes DPO's and GRPO's reference out of the model as it is then.
   *
   * @param options from which checkpoint to go on; default: from the first step
   * @returns how the run ended
   * @throws {NonFiniteError} if a loss or gradient is not finite
   * @throws {CheckpointError} if the checkpoint does not fit, is of another training type or,
   *   without `resumeAnyway`, of a run with other data, seed, batch size or backend
   * @throws {RewardModuleError} if a reward module cannot be used (GRPO)
   */
  async train(options: LibraryTrainOptions = {}): Promise<TrainResult> {
    const { config, prepared } = this.#parts;
    const { callbacks, signal } = this.#options;
    try {
      return await this.#inPrecision(() =>
        driveRun({
          config,
          prepared,
          backend: activeBackend(),
          resume: options.resume,
          resumeAnyway: options.resumeAnyway,
          callbacks,
          signal,
          continueWith: 'train({ resume: "auto" })',
          setUp: (reporter) => {
            this.#reporter = reporter;
            return this.#ready();
          },
        })
      );
    } finally {
      this.#reporter = null;
    }
  }

  /**
   * Measures on the held-out data and writes nothing: the loss (SFT, DPO), rewards, margins and
   * preference accuracy (DPO), mean rewards of greedy answers (GRPO).
   *
   * @returns metrics named `eval_…`; null without an `evalDataset`
   */
  async evaluate(): Promise<Readonly<Record<string, number>> | null> {
    return await this.#inPrecision(async () => {
      const { method } = await this.#ready();
      return (await method.evaluate())?.metrics ?? null;
    });
  }

  /** Frees what the trainer holds: references, sandboxes, threads. The model stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    const setup = this.#setup;
    this.#setup = null;
    // A method that could not be made has nothing to free.
    const made = await setup?.catch(() => null);
    await made?.method.release();
    await made?.dispose?.();
  }
}
