/**
 * What `train sft`, `train dpo` and `train grpo` share: backend, model, output folder, reporter,
 * trainer, final model.
 *
 * @module
 */
import { writeFolderAtomically } from "../../atomic_write.ts";
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { stringifyConfig } from "../../config/stringify_config.ts";
import { type ActiveBackend, type BackendChoice, initBackend } from "../../device/backend.ts";
import { HubError } from "../../hub/hub_error.ts";
import { hubSettings } from "../../hub/hub_settings.ts";
import { checkUpload, uploadFolder } from "../../hub/upload_folder.ts";
import { parameterCount } from "../../model/model_weights.ts";
import type { FactGroup, NextCommand, ResultTable } from "../../report/page/report_contents.ts";
import { Reporter } from "../../report/reporter.ts";
import { RunDirectory } from "../../report/files/run_directory.ts";
import { untilAborted } from "../../until_aborted.ts";
import { checkResumable } from "../checkpoint/checkpoint.ts";
import { prepareOutputFolder } from "../checkpoint/checkpoint_folder.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { type PreparedModel, prepareModel, writePreparedModel } from "./prepare_model.ts";
import { preparedTrainer, trainedWeightNames } from "../prepared_trainer.ts";
import type { Trainer, TrainerCallback, TrainResult } from "../loop/trainer.ts";
import type { TrainingMethod } from "../loop/training_method.ts";
import { precisionNote } from "../loop/training_precision.ts";

/** How a run is started. */
export interface RunOptions {
  readonly backend: BackendChoice;
  /** A checkpoint's folder, or `auto`. */
  readonly resume?: string;
  readonly signal?: AbortSignal;
  readonly callbacks?: readonly TrainerCallback[];
}

/** What a run shows at its end. */
export interface ClosingResults {
  readonly tables: readonly ResultTable[];
  readonly next: readonly NextCommand[];
}

/** What a training method adds to the common run. */
export interface RunSetup {
  readonly method: TrainingMethod;
  /** What trains, and how fast. */
  readonly groups: readonly ParameterGroup[];
  /** For the report's title. */
  readonly title: string;
  /** Beside the facts about model and device. */
  readonly facts: readonly FactGroup[];
  /** Sampled completions that are printed with each log; default 0. */
  readonly completionsToPrint?: number;
  /**
   * Called after the last step, before the report closes; `signal` ends it, with its reason as the
   * error.
   */
  readonly closing?: (result: TrainResult, signal?: AbortSignal) => Promise<ClosingResults>;
  /** Frees what the method holds. */
  readonly dispose?: () => void | Promise<void>;
}

/** Makes a method out of a model. */
export type SetUp = (prepared: PreparedModel, reporter: Reporter) => Promise<RunSetup>;

function modelFacts({ model, origin }: PreparedModel, backend: string): FactGroup[] {
  const { config } = model;
  return [
    {
      title: "Model",
      facts: [
        ["weights", origin],
        ["parameters", parameterCount(model)],
        ["frozen in 16 bits", model.packedWeights.size],
        ["vision", `${config.vit_n_blocks} blocks of ${config.vit_hidden_dim}`],
        ["decoder", `${config.lm_n_blocks} blocks of ${config.lm_hidden_dim}`],
        ["adapters", model.adapters.size],
      ],
    },
    { title: "Device", facts: [["backend", backend], ["precision", model.precision]] },
  ];
}

/**
 * Adapters on fresh weights need a base that can be loaded again: it is saved once, beside the
 * checkpoints, and named in adapter_config.json.
 */
async function keepBaseModel(prepared: PreparedModel, outputDir: string): Promise<void> {
  const { loraConfig } = prepared;
  if (loraConfig === null || loraConfig.base_model_name_or_path) return;
  const folder = `${outputDir}/base_model`;
  loraConfig.base_model_name_or_path = folder;
  const there = await Deno.stat(`${folder}/config.json`).then(() => true, () => false);
  if (there) return; // a resumed run: the same seed made the same weights
  await writeFolderAtomically(
    folder,
    (temporary) => writePreparedModel({ ...prepared, loraConfig: null }, [], temporary),
  );
}

/**
 * Runs a training method from config to final model.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @param setUp makes the method
 * @returns how it ended
 */
export async function runTraining(
  config: ResolvedConfig,
  options: RunOptions,
  setUp: SetUp,
): Promise<TrainResult> {
  const { training, save } = config;
  const { signal } = options;
  if (options.resume !== undefined && options.resume !== "auto") {
    await checkResumable(options.resume);
  }
  const repo = save.push_to_hub ? save.hub_model_id : null;
  if (repo !== null) checkUpload(repo, save.save_model_path, hubSettings());
  const backend = await initBackend({ backend: options.backend });
  console.error(`backend ${backend.reason}`);
  let started = false;
  try {
    const preparing = prepareModel(config.model, training.seed, training, signal);
    const prepared = await untilAborted(preparing, signal, ({ model }) => model.dispose());
    if (prepared.packedNote) console.error(prepared.packedNote);
    return await runPrepared(config, options, setUp, prepared, backend, () => started = true);
  } catch (error) {
    if (started || !signal?.aborted || error !== signal.reason) throw error;
    console.error(
      "interrupted while loading: nothing was trained; the same command begins again",
    );
    return { status: "interrupted", step: 0, trainLoss: NaN, evaluation: null };
  }
}

/** Everything that follows the model; frees it. */
async function runPrepared(
  config: ResolvedConfig,
  options: RunOptions,
  setUp: SetUp,
  prepared: PreparedModel,
  backend: ActiveBackend,
  onStart: () => void,
): Promise<TrainResult> {
  const { training, save } = config;
  const repo = save.push_to_hub ? save.hub_model_id : null;
  let directory: RunDirectory | null = null;
  let setup: RunSetup | null = null;
  let trainer: Trainer | null = null;
  let reporter: Reporter | null = null;
  let started = false;
  try {
    directory = RunDirectory.open(
      training.output_dir,
      options.resume === undefined ? "move_aside" : "resume",
    );
    await prepareOutputFolder(training.output_dir);
    reporter = new Reporter(directory);
    setup = await setUp(prepared, reporter);
    options.signal?.throwIfAborted();
    const { method, groups } = setup;
    const { signal, callbacks } = options;
    trainer = preparedTrainer(prepared, method, { training, groups, reporter, signal, callbacks });
    const resumedFromStep = options.resume ? await trainer.resume(options.resume) : null;
    options.signal?.throwIfAborted();
    await keepBaseModel(prepared, training.output_dir);
    started = true;
    onStart();
    await reporter.onStart({
      title: setup.title,
      label: setup.method.name,
      totalSteps: trainer.totalSteps,
      ...(resumedFromStep === null ? {} : { resumedFromStep }),
      facts: [...modelFacts(prepared, backend.reason), ...setup.facts],
      configYaml: stringifyConfig(config),
      completionsToPrint: setup.completionsToPrint,
      tensorBoard: config.logging.report_to.includes("tensorboard"),
      ...(config.logging.report_to.includes("wandb")
        ? { wandb: { project: config.logging.wandb_project, entity: config.logging.wandb_entity } }
        : {}),
    });
    if (directory.movedAside) {
      reporter.onWarning(`${training.output_dir} held a run; it is now ${directory.movedAside}`);
    }
    for (const warning of prepared.warnings) reporter.onWarning(warning);
    const note = precisionNote(prepared.model.precision, backend);
    if (note !== null) reporter.onWarning(note);
    const result = await trainer.train();
    if (result.status === "interrupted") {
      const message = result.step > 0
        ? `go on with the same command and --resume: step ${result.step} is saved in ` +
          training.output_dir
        : "no step was done, and nothing is saved";
      await reporter.onEnd({ status: "interrupted", message });
      return result;
    }
    await writeFolderAtomically(
      save.save_model_path,
      (folder) =>
        writePreparedModel(prepared, trainedWeightNames(prepared, groups), folder, {
          tokenizer: save.save_tokenizer,
          imageProcessor: save.save_image_processor,
        }),
      { existing: "update", last: "config.json" },
    );
    const closing = await setup.closing?.(result, options.signal).catch((error) => {
      if (options.signal?.aborted && error === options.signal.reason) return "interrupted" as const;
      throw error;
    });
    if (closing === "interrupted") {
      await trainer.save();
      const message = `the trained model is whole in ${save.save_model_path}, but not measured` +
        `${repo === null ? "" : " and not on the Hub"}: go on with the same command and --resume`;
      await reporter.onEnd({ status: "interrupted", message });
      return { ...result, status: "interrupted" };
    }
    if (repo !== null) await pushModel(repo, save.save_model_path, setup.title);
    await reporter.onEnd({ status: "done", ...closing });
    return result;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (started) await reporter?.onEnd({ status: "failed", message }).catch(() => {});
    else directory?.abandon();
    throw error;
  } finally {
    await setup?.method.release();
    await setup?.dispose?.();
    trainer?.dispose();
    prepared.model.dispose();
  }
}

/**
 * Uploads the final model.
 *
 * @throws {HubError} where the Hub does not take it; the model is on disk
 */
async function pushModel(repo: string, folder: string, title: string): Promise<void> {
  try {
    await uploadFolder({ repo, folder, title });
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    throw new HubError(error.kind, `${error.message}. The trained model is whole in ${folder}`, {
      cause: error,
    });
  }
}
