/**
 * What the library's trainers share: a model and data of the caller's, a config out of what they
 * gave, a run in an output folder. Model and data stay the caller's.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { stringifyConfig } from "../../config/stringify_config.ts";
import { parseConfig } from "../../config/load_config.ts";
import { activeBackend } from "../../device/backend.ts";
import type { LoraConfig } from "../../model/files/adapter_files.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { Reporter } from "../../report/reporter.ts";
import { RunDirectory } from "../../report/files/run_directory.ts";
import { prepareOutputFolder } from "../checkpoint/checkpoint_folder.ts";
import type { PreparedModel } from "./prepare_model.ts";
import type { RunSetup } from "./run.ts";
import { trainingPrecision } from "../loop/training_precision.ts";
import { preparedTrainer } from "../prepared_trainer.ts";
import type { Trainer, TrainerCallback, TrainResult } from "../loop/trainer.ts";

/** What every trainer of the library takes beside its data. */
export interface LibraryRunOptions {
  /** What trains, on the current backend, with its tokenizer and image processor. */
  readonly model: VisionLanguageModel;
  /** How its adapters were made, where it has some; written beside them. */
  readonly loraConfig?: LoraConfig;
  readonly callbacks?: readonly TrainerCallback[];
  /** Aborted: the run saves a checkpoint and stops. */
  readonly signal?: AbortSignal;
}

/** Where a method tells what the user should see; nowhere while nothing is being trained. */
export type ReporterOf = () => Reporter | null;

/**
 * A config out of the sections that a trainer was given; the rest is filled in as for a YAML file.
 *
 * @throws {ConfigError} for a key that does not exist or a value of the wrong kind
 */
export function libraryConfig(sections: {
  readonly training_type: ResolvedConfig["training_type"];
  readonly dataset: Partial<ResolvedConfig["dataset"]>;
  readonly [section: string]: unknown;
}): ResolvedConfig {
  const given = { model: { model_name_or_path: "given" }, ...sections };
  // JSON is YAML; what is undefined is left out of it.
  return parseConfig(JSON.stringify(given), { file: "the trainer's options" });
}

/**
 * The caller's model with what it reads and writes text and pictures with.
 *
 * @throws {Error} where it lacks one of them, or has adapters that nobody could save
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

/** One trainer's run: set up when it is first needed, freed when it is disposed of. */
export class LibraryRun implements AsyncDisposable {
  #setup: Promise<RunSetup> | null = null;
  #reporter: Reporter | null = null;

  /**
   * @param config filled in
   * @param prepared the caller's model
   * @param options callbacks and signal
   * @param setUp makes the method out of the model as it is then
   */
  constructor(
    readonly config: ResolvedConfig,
    readonly prepared: PreparedModel,
    readonly options: LibraryRunOptions,
    readonly setUp: (reporter: ReporterOf) => Promise<RunSetup>,
  ) {}

  #ready(): Promise<RunSetup> {
    this.#setup ??= this.setUp(() => this.#reporter);
    return this.#setup;
  }

  /** The caller's model computes in the run's precision for as long as `use` takes. */
  async #inPrecision<T>(use: () => Promise<T>): Promise<T> {
    const { model } = this.prepared;
    const before = model.precision;
    model.precision = trainingPrecision(this.config.training);
    try {
      return await use();
    } finally {
      model.precision = before;
    }
  }

  /** As {@linkcode Trainer.train}, from the first step or from a checkpoint, with all its files. */
  async train(resume?: string): Promise<TrainResult> {
    return await this.#inPrecision(() => this.#train(resume));
  }

  async #train(resume?: string): Promise<TrainResult> {
    const { config, prepared, options: { callbacks, signal } } = this;
    const { training, logging } = config;
    const setup = await this.#ready();
    const directory = RunDirectory.open(
      training.output_dir,
      resume === undefined ? "move_aside" : "resume",
    );
    let trainer: Trainer | null = null;
    let started = false;
    const reporter = new Reporter(directory);
    this.#reporter = reporter;
    try {
      await prepareOutputFolder(training.output_dir);
      const { method, groups } = setup;
      const options = { training, groups, reporter, signal, callbacks };
      trainer = preparedTrainer(prepared, method, options);
      const resumedFromStep = resume === undefined ? null : await trainer.resume(resume);
      started = true;
      await reporter.onStart({
        title: setup.title,
        label: setup.method.name,
        totalSteps: trainer.totalSteps,
        ...(resumedFromStep === null ? {} : { resumedFromStep }),
        facts: [
          { title: "Device", facts: [["backend", activeBackend()?.reason ?? "the caller's"]] },
          ...setup.facts,
        ],
        configYaml: stringifyConfig(config),
        completionsToPrint: setup.completionsToPrint,
        tensorBoard: logging.report_to.includes("tensorboard"),
      });
      if (directory.movedAside) {
        reporter.onWarning(`${training.output_dir} held a run; it is now ${directory.movedAside}`);
      }
      const result = await trainer.train();
      await reporter.onEnd({ status: result.status === "interrupted" ? "interrupted" : "done" });
      return result;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (started) await reporter.onEnd({ status: "failed", message }).catch(() => {});
      else directory.abandon();
      throw error;
    } finally {
      this.#reporter = null;
      trainer?.dispose();
    }
  }

  /** Metrics of the held-out data, `eval_…`; null where there is none. Writes nothing. */
  async evaluate(): Promise<Readonly<Record<string, number>> | null> {
    return await this.#inPrecision(async () => {
      const { method } = await this.#ready();
      return (await method.evaluate())?.metrics ?? null;
    });
  }

  /** Frees what the method holds; the model stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    const setup = this.#setup;
    this.#setup = null;
    // A method that could not be made has nothing to free.
    const made = await setup?.catch(() => null);
    await made?.method.release();
    await made?.dispose?.();
  }
}
