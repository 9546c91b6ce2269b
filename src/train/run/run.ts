/**
 * What `train sft`, `train dpo` and `train grpo` share: backend, model, output folder, final model,
 * upload.
 *
 * @module
 */
import { writeFolderAtomically, writeTextAtomically } from "../../atomic_write.ts";
import { stringifyConfig } from "../../config/stringify_config.ts";
import type { ResolvedConfig, SaveSection } from "../../config/types/config_types.ts";
import { type ActiveBackend, type BackendChoice, initBackend } from "../../device/backend.ts";
import { currentRanks } from "../../distributed/ranks.ts";
import { HubError } from "../../hub/hub_error.ts";
import { hubSettings } from "../../hub/hub_settings.ts";
import { checkUpload, uploadFolder } from "../../hub/upload_folder.ts";
import { type ModelCard, renderModelCard, shownPlace } from "../../report/model_card.ts";
import type { ResultTable } from "../../report/page/report_contents.ts";
import type { Reporter } from "../../report/reporter.ts";
import { untilAborted } from "../../until_aborted.ts";
import { checkResumable } from "../checkpoint/checkpoint.ts";
import type { TrainerCallback, TrainResult } from "../loop/trainer.ts";
import { type PreparedModel, prepareModel, writePreparedModel } from "./prepare_model.ts";
import { announceRun } from "./announce_run.ts";
import {
  driveRun,
  type RunEnd,
  type RunSetup,
  type TrainedRun,
  trainedWeightNames,
} from "./run_driver.ts";

/** How a run is started. */
export interface RunOptions {
  readonly backend: BackendChoice;
  /** A checkpoint's folder, or `auto`. */
  readonly resume?: string;
  /** Goes on even if data, seed, batch size or backend are not the checkpoint's; default false. */
  readonly resumeAnyway?: boolean;
  readonly signal?: AbortSignal;
  readonly callbacks?: readonly TrainerCallback[];
  /** The line that says where the run is watched; default: it is not. */
  readonly watched?: string;
  /** Whether the run's first lines are printed already; default false. */
  readonly announced?: boolean;
  /** The config as the user wrote it, which is kept with the run; default: the one that runs. */
  readonly writtenConfig?: ResolvedConfig;
  /** Of this package; ranks must have the same. */
  readonly version?: string;
}

/** Makes a method out of a model. */
export type SetUp = (prepared: PreparedModel, reporter: Reporter) => Promise<RunSetup>;

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
  const { rank } = currentRanks();
  if (rank === 0 && options.resume !== undefined && options.resume !== "auto") {
    await checkResumable(options.resume);
  }
  const repo = save.push_to_hub ? save.hub_model_id : null;
  if (repo !== null) checkUpload(repo, save.save_model_path, hubSettings());
  const backend = await initBackend({ backend: options.backend });
  if (!options.announced) announceRun(config, backend, options.watched);
  let started = false;
  try {
    const preparing = prepareModel(config.model, training.seed, training, signal);
    const prepared = await untilAborted(preparing, signal, ({ model }) => model.dispose());
    if (prepared.packedNote && rank === 0) console.error(prepared.packedNote);
    return await runPrepared(config, options, setUp, prepared, backend, () => started = true);
  } catch (error) {
    if (started || !signal?.aborted || error !== signal.reason) throw error;
    console.error(
      "interrupted while loading: nothing was trained; the same command begins again",
    );
    // The other ranks may still be loading, or wait for this one.
    if (currentRanks().size > 1) currentRanks().abort(130);
    return { status: "interrupted", step: 0, trainLoss: NaN, evaluation: null };
  }
}

/** Everything after the model is loaded; frees the model. */
async function runPrepared(
  config: ResolvedConfig,
  options: RunOptions,
  setUp: SetUp,
  prepared: PreparedModel,
  backend: ActiveBackend,
  onStart: () => void,
): Promise<TrainResult> {
  const { training } = config;
  let setup: RunSetup | null = null;
  try {
    return await driveRun({
      config,
      writtenConfig: options.writtenConfig,
      version: options.version,
      prepared,
      backend,
      resume: options.resume,
      resumeAnyway: options.resumeAnyway,
      signal: options.signal,
      callbacks: options.callbacks,
      continueWith: "the same command and --resume",
      setUp: async (reporter) => setup = await setUp(prepared, reporter),
      beforeStart: async () => {
        if (currentRanks().rank === 0) await keepBaseModel(prepared, training.output_dir);
        onStart();
      },
      finish: (run) => finishRun(config, prepared, run, options.signal),
    });
  } finally {
    // TypeScript does not know that the closure above assigns it.
    const made = setup as RunSetup | null;
    await made?.method.release();
    await made?.dispose?.();
    prepared.model.dispose();
  }
}

/** Writes the final model, measures it, and uploads it if the config asks for that. */
async function finishRun(
  config: ResolvedConfig,
  prepared: PreparedModel,
  { setup, trainer, result }: TrainedRun,
  signal: AbortSignal | undefined,
): Promise<RunEnd> {
  const { save } = config;
  const repo = save.push_to_hub ? save.hub_model_id : null;
  await writeFolderAtomically(
    save.save_model_path,
    (folder) =>
      writePreparedModel(prepared, trainedWeightNames(prepared, setup.groups), folder, {
        tokenizer: save.save_tokenizer,
        imageProcessor: save.save_image_processor,
      }),
    { existing: "update", last: "config.json" },
  );
  const closing = await setup.closing?.(result, signal).catch((error) => {
    if (signal?.aborted && error === signal.reason) return "interrupted" as const;
    throw error;
  });
  if (closing === "interrupted") {
    await trainer.save({ together: false, whole: true });
    const message = `the trained model is whole in ${save.save_model_path}, but not measured` +
      `${repo === null ? "" : " and not on the Hub"}: go on with the same command and --resume`;
    return { result: { ...result, status: "interrupted" }, message };
  }
  if (repo !== null) {
    const card = cardOf(repo, config, result, closing?.tables ?? []);
    await writeTextAtomically(`${save.save_model_path}/README.md`, renderModelCard(card));
    await pushModel(repo, save, setup.title);
  }
  return { result, closing };
}

/** What the model's page on the Hub says. */
function cardOf(
  repo: string,
  config: ResolvedConfig,
  { step, evaluation }: TrainResult,
  tables: readonly ResultTable[],
): ModelCard {
  const { model, dataset, training_type: trainingType } = config;
  return {
    repo,
    trainingType,
    base: model.model_name_or_path === "initialize" ? null : model.model_name_or_path,
    data: dataset.train_data_path,
    isAdapter: model.use_lora,
    steps: step,
    metrics: evaluation ?? {},
    tables,
    configYaml: stringifyConfig(withoutPaths(config)),
  };
}

/** The config without the folders of this machine, which are of no use to a stranger. */
function withoutPaths(config: ResolvedConfig): ResolvedConfig {
  const { model, dataset, training, save } = config;
  const evalData = dataset.eval_data_path;
  return {
    ...config,
    model: { ...model, model_name_or_path: shownPlace(model.model_name_or_path) },
    dataset: {
      ...dataset,
      train_data_path: shownPlace(dataset.train_data_path),
      eval_data_path: evalData === null ? null : shownPlace(evalData),
      mixture: {
        ...dataset.mixture,
        datasets: dataset.mixture.datasets.map((set) => ({ ...set, path: shownPlace(set.path) })),
      },
    },
    training: { ...training, output_dir: shownPlace(training.output_dir) },
    save: { ...save, save_model_path: shownPlace(save.save_model_path) },
  };
}

/**
 * Uploads the final model.
 *
 * @throws {HubError} if the Hub does not take it; the model is on disk
 */
async function pushModel(repo: string, save: SaveSection, title: string): Promise<void> {
  const { save_model_path: folder, hub_private_repo: isPrivate } = save;
  try {
    await uploadFolder({ repo, folder, title, isPrivate: isPrivate ?? undefined });
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    throw new HubError(error.kind, `${error.message}. The trained model is whole in ${folder}`, {
      cause: error,
    });
  }
}
