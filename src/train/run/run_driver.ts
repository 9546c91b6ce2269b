/**
 * One run in an output folder: the reporter, the trainer, the first and the last message. The
 * command line (`run.ts`) and the library (`library_trainer.ts`) both drive their runs with it.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { stringifyConfig } from "../../config/stringify_config.ts";
import type { ActiveBackend } from "../../device/backend.ts";
import { currentRanks, gatherJson, onRankZero } from "../../distributed/ranks.ts";
import { parameterCount } from "../../model/model_weights.ts";
import { RunDirectory } from "../../report/files/run_directory.ts";
import type { ReportedAnswers } from "../../report/files/report_file.ts";
import type {
  FactGroup,
  Headline,
  NextCommand,
  ResultTable,
} from "../../report/page/report_contents.ts";
import { renderWaitingPage } from "../../report/page/waiting_page.ts";
import { Reporter } from "../../report/reporter.ts";
import { SilentReporter } from "../../report/silent_reporter.ts";
import { makeTrackers } from "../../report/trackers/make_trackers.ts";
import type { Concern } from "../../report/watch/concern.ts";
import { prepareOutputFolder } from "../checkpoint/checkpoint_folder.ts";
import { Trainer, type TrainerCallback, type TrainResult } from "../loop/trainer.ts";
import type { TrainingMethod } from "../loop/training_method.ts";
import { precisionNote } from "../loop/training_precision.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import type { BeforeTraining } from "./before_training.ts";
import { keepPictureFeatures, type KeptFeatures } from "./keep_picture_features.ts";
import { type PreparedModel, writePreparedModel } from "./prepare_model.ts";
import { checkRankAgreement } from "./rank_agreement.ts";

/** What a run shows at its end. */
export interface ClosingResults {
  readonly tables: readonly ResultTable[];
  /** What the run achieved, before and after. */
  readonly headlines?: readonly Headline[];
  /** Answers to held-out questions. */
  readonly answers?: ReportedAnswers;
  readonly next: readonly NextCommand[];
  /** What was found wrong with the model. */
  readonly concerns?: readonly Concern[];
}

/** What a training method adds to the common run. */
export interface RunSetup {
  readonly method: TrainingMethod;
  /** What trains, and how fast. */
  readonly groups: readonly ParameterGroup[];
  /** For the report's title. */
  readonly title: string;
  /** What a user should know of the data. */
  readonly warnings?: readonly string[];
  /** Shown after the facts about model and device. */
  readonly facts: readonly FactGroup[];
  /** Sampled completions that are printed with each log; default 0. */
  readonly completionsToPrint?: number;
  /**
   * Measures the model before the first step, and before a checkpoint is read; `signal` ends it, with
   * its reason as the error.
   */
  readonly before?: (signal?: AbortSignal) => Promise<BeforeTraining | null>;
  /**
   * Called by the command line after the last step, before the report closes; `signal` ends it,
   * with its reason as the error.
   */
  readonly closing?: (result: TrainResult, signal?: AbortSignal) => Promise<ClosingResults>;
  /** Frees what the method holds. */
  readonly dispose?: () => void | Promise<void>;
}

/** A run that has done its last step, while its trainer is still there. */
export interface TrainedRun {
  readonly setup: RunSetup;
  readonly trainer: Trainer;
  readonly result: TrainResult;
}

/** How a run ends, as the report shows it. */
export interface RunEnd {
  readonly result: TrainResult;
  readonly message?: string;
  readonly closing?: ClosingResults;
}

/** What a run is driven with. */
export interface RunDriverOptions {
  /** `gradient_accumulation_steps` counts the micro-batches of all ranks. */
  readonly config: ResolvedConfig;
  /** What is kept with the run, if that is not `config`: as the user wrote it, for each rank. */
  readonly writtenConfig?: ResolvedConfig;
  /** Of this package; ranks must have the same. */
  readonly version?: string;
  readonly prepared: PreparedModel;
  readonly backend: ActiveBackend | null;
  /** A checkpoint's folder, or `auto`. */
  readonly resume?: string;
  /** Goes on even if data, seed, batch size or backend are not the checkpoint's; default false. */
  readonly resumeAnyway?: boolean;
  readonly signal?: AbortSignal;
  readonly callbacks?: readonly TrainerCallback[];
  /** How an interrupted run is continued, in words: "the same command and --resume". */
  readonly continueWith: string;
  /** Makes the method. Called after the output folder is ready. */
  readonly setUp: (reporter: Reporter) => Promise<RunSetup>;
  /** Called after the checkpoint is read, before the run is reported as started. */
  readonly beforeStart?: () => Promise<void>;
  /** Called after the last step, unless the run was interrupted; default: nothing more to do. */
  readonly finish?: (run: TrainedRun) => Promise<RunEnd>;
}

/** Names of the model's own weights that train; adapters have files of their own. */
export function trainedWeightNames(
  { model }: PreparedModel,
  groups: readonly ParameterGroup[],
): string[] {
  return groups.flatMap(({ parameters }) => [...parameters.keys()])
    .filter((name) => model.weights.has(name));
}

function runFacts({ model, origin }: PreparedModel, backend: string): FactGroup[] {
  const { config } = model;
  return [
    {
      title: "Model",
      facts: [
        ["weights", origin],
        ["parameters", parameterCount(model)],
        ...(model.packedWeights.size === 0
          ? []
          : [["frozen in 16 bits", model.packedWeights.size] as const]),
        ["vision", `${config.vit_n_blocks} blocks of ${config.vit_hidden_dim}`],
        ["decoder", `${config.lm_n_blocks} blocks of ${config.lm_hidden_dim}`],
        ...(model.adapters.size === 0 ? [] : [["adapters", model.adapters.size] as const]),
      ],
    },
    { title: "Device", facts: [["backend", backend], ["precision", model.precision]] },
  ];
}

/** The ranks of a run that has several. */
function rankFacts(): FactGroup[] {
  const { size, hosts, description } = currentRanks();
  if (size === 1) return [];
  return [{
    title: "Ranks",
    facts: [["processes", size], ["machines", new Set(hosts).size], ["library", description]],
  }];
}

/**
 * Runs a training method in the output folder of its config, and reports it.
 *
 * The caller frees model and method. A run that fails before its first step leaves an earlier run
 * in the folder where it was.
 *
 * @returns how it ended
 */
export async function driveRun(options: RunDriverOptions): Promise<TrainResult> {
  const { config, prepared, resume, resumeAnyway: anyway, signal, callbacks } = options;
  const { training } = config;
  const ranks = currentRanks();
  const first = ranks.rank === 0;
  const directory = first
    ? RunDirectory.open(training.output_dir, resume === undefined ? "move_aside" : "resume")
    : RunDirectory.none();
  let trainer: Trainer | null = null;
  let reporter: Reporter | null = null;
  let started = false;
  let kept: KeptFeatures | null = null;
  try {
    if (first) {
      await prepareOutputFolder(training.output_dir);
      await directory.writeWaitingPage(renderWaitingPage(basename(resolve(training.output_dir))));
    }
    reporter = first ? new Reporter(directory) : new SilentReporter(`rank ${ranks.rank}`);
    const setup = await options.setUp(reporter);
    signal?.throwIfAborted();
    const { version = null } = options;
    await checkRankAgreement(ranks, { version, config, method: setup.method, prepared });
    const names = trainedWeightNames(prepared, setup.groups);
    trainer = new Trainer(setup.method, {
      training,
      config,
      groups: setup.groups,
      reporter,
      signal,
      callbacks,
      // Frozen weights too, so that an error can name a bad one.
      weights: prepared.model.weights,
      runMetrics: () => kept?.metrics() ?? {},
      saveModel: (folder) => writePreparedModel(prepared, names, folder),
    });
    let before: BeforeTraining | null = null;
    await onRankZero(ranks, "the evaluation before training", async () => {
      before = await setup.before?.(signal) ?? null; // with pictures: they stay on this rank
      return null;
    });
    const resumedFromStep = resume === undefined ? null : await trainer.resume(resume, { anyway });
    signal?.throwIfAborted();
    await options.beforeStart?.();
    kept = keepPictureFeatures(prepared.model, setup.groups, training);
    started = true;
    await start(options, setup, { reporter, trainer, directory, resumedFromStep, before });
    const result = await trainer.train();
    const end = result.status === "interrupted"
      ? { result, message: interruptedMessage(result, training.output_dir, options.continueWith) }
      : first && await options.finish?.({ setup, trainer, result }) || { result };
    await reporter.onEnd({
      status: end.result.status === "interrupted" ? "interrupted" : "done",
      ...("message" in end
        ? { message: end.message }
        : result.reason === undefined
        ? {}
        : { message: result.reason }),
      ...("closing" in end ? end.closing : {}),
    });
    // The others wait until rank 0 has written everything, and end as it does.
    const [status] = await gatherJson(ranks, end.result.status, "the end", { patient: true });
    return { ...end.result, status };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (started) await reporter?.onEnd({ status: "failed", message }).catch(() => {});
    else if (first) directory.abandon();
    throw error;
  } finally {
    kept?.dispose();
    trainer?.dispose();
  }
}

/** Opens the report, and tells what the user should know before the first step. */
async function start(
  { config, writtenConfig = config, prepared, backend }: RunDriverOptions,
  setup: RunSetup,
  { reporter, trainer, directory, resumedFromStep, before }: {
    readonly reporter: Reporter;
    readonly trainer: Trainer;
    readonly directory: RunDirectory;
    readonly resumedFromStep: number | null;
    readonly before: BeforeTraining | null;
  },
): Promise<void> {
  const { training, logging } = config;
  await reporter.onStart({
    title: setup.title,
    label: setup.method.name,
    totalSteps: trainer.totalSteps,
    ...(resumedFromStep === null ? {} : { resumedFromStep }),
    facts: [
      ...runFacts(prepared, backend?.reason ?? "the caller's"),
      ...rankFacts(),
      ...setup.facts,
    ],
    configYaml: stringifyConfig(writtenConfig),
    shownConfig: stringifyConfig(ownSections(writtenConfig)),
    completionsToPrint: setup.completionsToPrint,
    tensorBoard: logging.report_to.includes("tensorboard"),
    tracking: {
      trackers: makeTrackers({ names: logging.report_to, wandbEntity: logging.wandb_entity }),
      name: logging.run_name ?? basename(resolve(training.output_dir)),
      project: logging.wandb_project,
      config: { ...writtenConfig },
    },
  });
  if (before !== null) {
    const { metrics, samples, all = samples } = before;
    await reporter.onBefore(metrics, { shown: samples, all });
  }
  if (directory.movedAside) {
    reporter.onWarning(`${training.output_dir} held a run; it is now ${directory.movedAside}`);
  }
  for (const warning of prepared.warnings) reporter.onWarning(warning);
  for (const warning of setup.warnings ?? []) reporter.onWarning(warning);
  for (const key of ["gradient_compression", "gradient_overlap"] as const) {
    const isSet = training[key] !== "none" && training[key] !== false;
    if (!isSet || currentRanks().size > 1) continue;
    reporter.onWarning(`training.${key} does nothing: one process sends no gradients`);
  }
  if (training.gradient_overlap && backend !== null && backend.name !== "wasm") {
    reporter.onWarning(
      "training.gradient_overlap does nothing on a GPU: gradients are read back after the pass",
    );
  }
  const note = backend === null ? null : precisionNote(prepared.model.precision, backend);
  if (note !== null) reporter.onWarning(note);
}

/** The config without the sections of the other trainers. */
function ownSections(config: ResolvedConfig): ResolvedConfig {
  const others = ["sft", "dpo", "grpo", "gkd"].filter((name) => name !== config.training_type);
  if (config.training_type !== "grpo") others.push("rewards");
  const own = Object.entries(config).filter(([name]) => !others.includes(name));
  return Object.fromEntries(own) as unknown as ResolvedConfig;
}

function interruptedMessage({ step }: TrainResult, folder: string, continueWith: string): string {
  return step > 0
    ? `go on with ${continueWith}: step ${step} is saved in ${folder}`
    : "no step was done, and nothing is saved";
}
