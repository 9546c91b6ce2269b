/**
 * `train <sft|dpo|grpo|gkd>`.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { parse } from "@std/yaml";
import type { ResolvedConfig, TrainingType } from "../src/config/types/config_types.ts";
import {
  BACKEND_CHOICES,
  type BackendChoice,
  backendOfDevice,
} from "../src/config/schema/device_backend.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { loadConfig, parseConfig } from "../src/config/load_config.ts";
import { EMBEDDED_DATA } from "../src/data/embedded/embedded_dataset.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { listenOnLoopback } from "./listen.ts";
import { checkNamedPaths, namesOfConfig } from "./named_paths.ts";
import { findRate, findRateStepsOf } from "./train_find_lr.ts";
import { UsageError } from "./usage_error.ts";
import { VERSION } from "./version.ts";

/** What `train` was asked for. */
export interface TrainOptions {
  readonly trainer: TrainingType;
  /** Path or URL of the YAML; undefined: the embedded default. */
  readonly config: string | undefined;
  /** `key.path=value` each, with `--output-dir` as the last. */
  readonly overrides: readonly string[];
  /** A checkpoint's folder, or `auto`: the newest complete one. */
  readonly resume: string | undefined;
  /** Goes on even if data, seed, batch size or backend are not the checkpoint's. */
  readonly resumeAnyway: boolean;
  /** undefined: what the config's `training.device` asks for. */
  readonly backend: BackendChoice | undefined;
  readonly dryRun: boolean;
  /** Steps of a learning-rate range test in place of a run; undefined: a run. */
  readonly findRateSteps: number | undefined;
  /** Port of the page to watch the run at; 0: any free one; undefined: no page. */
  readonly watchPort: number | undefined;
}

/** Port of the page if `--watch` names none. */
const WATCH_PORT = 8001;

/** The file of a run that holds its filled-in config. */
const RESOLVED_CONFIG = "config.resolved.yaml";

const TRAINERS: readonly TrainingType[] = ["sft", "dpo", "grpo", "gkd"];

const options: readonly OptionSpec[] = [
  {
    name: "config",
    kind: "text",
    value: "F",
    summary: "YAML; without it a small embedded default",
  },
  { name: "set", kind: "list", value: "key.path=value", summary: "override a key of the config" },
  {
    name: "output-dir",
    kind: "text",
    value: "D",
    summary: "the same as --set training.output_dir=D",
  },
  {
    name: "resume",
    kind: "optional",
    value: "auto|DIR",
    summary: "go on from a checkpoint; auto: the newest in the output folder",
  },
  {
    name: "resume-anyway",
    kind: "flag",
    summary: "with --resume: also with other data, seed, batch size or backend",
  },
  {
    name: "backend",
    kind: "text",
    choices: BACKEND_CHOICES,
    summary: "where to compute; auto: a GPU, else the fastest",
  },
  {
    name: "dry-run",
    kind: "flag",
    summary: "resolve everything, run the longest batch once, train nothing",
  },
  {
    name: "find-lr",
    kind: "optional",
    value: "STEPS",
    summary: "try growing learning rates (100 steps), suggest some, train nothing",
  },
  {
    name: "watch",
    kind: "optional",
    value: "PORT",
    summary: "show the run's page while it trains (8001); 0 takes a free port",
  },
];

/** @throws {UsageError} if it is no port */
function watchPortOf(given: string | true | undefined): number | undefined {
  if (given === undefined) return undefined;
  const port = given === true ? WATCH_PORT : Number(given);
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new UsageError(`--watch is ${JSON.stringify(given)}; want a port from 0 to 65535`);
}

/**
 * Parses the arguments of `train`.
 *
 * @throws {UsageError}
 */
export function parseTrainArguments(args: readonly string[]): TrainOptions {
  const parsed = parseOptions(args, options, ["sft, dpo, grpo or gkd"]);
  const trainer = TRAINERS.find((name) => name === parsed.positionals[0]);
  if (trainer === undefined) {
    throw new UsageError(
      `got ${JSON.stringify(parsed.positionals[0])}, want one of ${TRAINERS.join(", ")}`,
    );
  }
  const outputDir = parsed.text("output-dir");
  const resume = parsed.optional("resume");
  const resumeAnyway = parsed.flag("resume-anyway");
  if (resumeAnyway && resume === undefined) {
    throw new UsageError("--resume-anyway goes with --resume, which says where to go on from");
  }
  const dryRun = parsed.flag("dry-run"), watch = parsed.optional("watch");
  const excluded = { resume: resume !== undefined, "dry-run": dryRun, watch: watch !== undefined };
  return {
    trainer,
    config: parsed.text("config"),
    overrides: [
      ...parsed.list("set"),
      // JSON's strings are YAML's double-quoted ones.
      ...(outputDir === undefined ? [] : [`training.output_dir=${JSON.stringify(outputDir)}`]),
    ],
    resume: resume === true ? "auto" : resume,
    resumeAnyway,
    backend: parsed.text("backend") as BackendChoice | undefined,
    dryRun,
    findRateSteps: findRateStepsOf(parsed.optional("find-lr"), trainer, excluded),
    watchPort: watchPortOf(watch),
  };
}

/**
 * The config that `train` runs: the file or the embedded default, with its overrides.
 *
 * @throws {ConfigError}
 */
export async function loadTrainConfig(train: TrainOptions): Promise<ResolvedConfig> {
  const settings = {
    overrides: train.overrides,
    trainingType: train.trainer,
    onWarning: (warning: string) => console.error(`warning: ${warning}`),
  };
  if (train.config !== undefined) return await loadConfig(train.config, settings);
  const { file, text } = EMBEDDED_CONFIGS[train.trainer === "sft" ? "drawings" : train.trainer];
  return parseConfig(text, { ...settings, file, overrides: ownDataAlone(train.overrides) });
}

/**
 * With training data of the user's and no evaluation data, the embedded config's evaluation set
 * is left out: the user's own rows are split.
 */
function ownDataAlone(overrides: readonly string[]): readonly string[] {
  const sets = (key: string) => overrides.findLast((text) => text.startsWith(`dataset.${key}=`));
  const own = sets("train_data_path");
  const isEmbedded = EMBEDDED_DATA.some((name) => own?.endsWith(`=${name}`));
  if (own === undefined || isEmbedded) return overrides;
  return ["dataset.eval_data_path=null", ...overrides];
}

/**
 * The config of a resumed run holds out the rows that the run began with, whichever rule is the
 * default now.
 *
 * @param resume a checkpoint's folder, or `auto`
 */
export async function withSplitOfRun(
  config: ResolvedConfig,
  resume: string | undefined,
): Promise<ResolvedConfig> {
  if (resume === undefined) return config;
  const run = resume === "auto" ? config.training.output_dir : dirname(resolve(resume));
  let text: string;
  try {
    text = await Deno.readTextFile(`${run}/${RESOLVED_CONFIG}`);
  } catch {
    return config; // no run to continue, or a checkpoint without its run
  }
  const begun = parse(text) as { dataset?: { split_rule?: unknown; split_by?: unknown } } | null;
  const split_rule = begun?.dataset?.split_rule === "datasets" ? "datasets" : "legacy";
  // A run that has the key keeps its value as any other; one without it held out rows.
  const split_by = begun?.dataset?.split_by === undefined ? "row" : config.dataset.split_by;
  return { ...config, dataset: { ...config.dataset, split_rule, split_by } };
}

/** The backend to ask for: `--backend`, else what `training.device` means. */
export function backendOf(train: TrainOptions, config: ResolvedConfig): BackendChoice {
  return train.backend ?? backendOfDevice(config.training.device);
}

/** What measures a trainer; loaded when it is needed. */
async function dryRunOf(trainer: TrainingType) {
  switch (trainer) {
    case "sft":
      return (await import("../src/train/sft/dry_run.ts")).dryRunSFT;
    case "dpo":
      return (await import("../src/train/dpo/dry_run.ts")).dryRunDPO;
    case "grpo":
      return (await import("../src/train/grpo/dry_run.ts")).dryRunGRPO;
    case "gkd":
      return (await import("../src/train/gkd/dry_run.ts")).dryRunGKD;
  }
}

/** Resolves everything, runs the longest batch once, and prints what it takes. */
async function dryRun(
  train: TrainOptions,
  config: ResolvedConfig,
  signal: AbortSignal,
): Promise<number> {
  signal.addEventListener("abort", () => {
    console.error("a dry run has nothing to save");
    Deno.exit(130);
  });
  const { dryRunLines } = await import("../src/train/dry_run/report.ts");
  const run = await dryRunOf(config.training_type);
  const report = await run(config, {
    backend: backendOf(train, config),
    onProgress: (text) => console.error(text),
  });
  for (const warning of report.warnings) console.error(`warning: ${warning}`);
  for (const line of dryRunLines(report)) console.log(line);
  return 0;
}

/** What runs a trainer; loaded when it is needed. */
async function runnerOf(trainer: TrainingType) {
  switch (trainer) {
    case "sft":
      return (await import("../src/train/sft/run.ts")).runSFT;
    case "dpo":
      return (await import("../src/train/dpo/run.ts")).runDPO;
    case "grpo":
      return (await import("../src/train/grpo/run.ts")).runGRPO;
    case "gkd":
      return (await import("../src/train/gkd/run.ts")).runGKD;
  }
}

/** @throws {UsageError} if `--resume` names a folder that is not there */
async function checkResumeFolder(resume: string | undefined): Promise<void> {
  if (resume === undefined || resume === "auto") return;
  if (await Deno.stat(resume).then(({ isDirectory }) => isDirectory, () => false)) return;
  throw new UsageError(
    `cannot resume from ${resume}: there is no such folder; --resume alone takes the newest ` +
      "checkpoint of the output folder",
  );
}

/** @throws {CheckpointError} if `--resume` would go on from a run of another training type */
async function checkResumedRun({ resume }: TrainOptions, config: ResolvedConfig): Promise<void> {
  if (resume === undefined) return;
  const { checkResumedType } = await import("../src/train/checkpoint/run_state.ts");
  await checkResumedType(resume, config.training.output_dir, config.training_type);
}

/** Time between two questions of a page that updates itself. */
const PAGE_ASKS_MS = 2000;

/** A page over the output folder's neighbours, this run among them, and the line that names it. */
async function watchRun(
  { watchPort }: TrainOptions,
  { training }: ResolvedConfig,
): Promise<AsyncDisposable & { readonly line: string } | undefined> {
  if (watchPort === undefined) return undefined;
  const { RunsServer } = await import("../src/serve/runs_server.ts");
  const folder = resolve(training.output_dir);
  const runs = new RunsServer(dirname(folder), basename(folder));
  let askedAt = -Infinity;
  const listening = listenOnLoopback(watchPort, (request) => {
    askedAt = performance.now();
    return runs.handle(request);
  });
  const query = new URLSearchParams({ run: basename(folder) });
  return {
    line: `watch it: ${listening.url}report?${query}, all runs: ${listening.url}`,
    async [Symbol.asyncDispose]() {
      // A browser that watches gets the end of the run, too.
      const isWatched = performance.now() - askedAt < 2 * PAGE_ASKS_MS;
      if (isWatched) await new Promise((resolve) => setTimeout(resolve, 2 * PAGE_ASKS_MS));
      await listening[Symbol.asyncDispose]();
    },
  };
}

/** The command. */
export const command: Command = {
  name: "train",
  summary: "train a model: SFT, DPO, GRPO or GKD",
  usage: "<sft|dpo|grpo|gkd> [options]",
  options,
  onInterrupt: "saving a checkpoint",
  async run(args, { signal }) {
    const train = parseTrainArguments(args);
    const config = await loadTrainConfig(train);
    const { startRanks } = await import("../src/distributed/start_ranks.ts");
    const ranks = await startRanks();
    const first = ranks.rank === 0;
    // The other ranks get the checkpoint from rank 0.
    if (first) await checkResumeFolder(train.resume);
    await checkNamedPaths(namesOfConfig(config));
    if (train.dryRun) {
      const code = first ? await dryRun(train, config, signal) : 0;
      await ranks.close();
      return code;
    }
    if (train.findRateSteps !== undefined) {
      if (ranks.size > 1) {
        await ranks.close();
        throw new UsageError("--find-lr runs in one process; start it without mpirun");
      }
      const backend = backendOf(train, config);
      return await findRate(config, { backend, steps: train.findRateSteps, signal });
    }
    if (first) await checkResumedRun(train, config);
    const run = await runnerOf(config.training_type);
    await using page = first ? await watchRun(train, config) : undefined;
    if (ranks.size > 1 && first) console.error(ranks.description);
    const { onRankZero } = await import("../src/distributed/ranks.ts");
    const { wholeBatchConfig } = await import("../src/distributed/whole_batch.ts");
    const written = await onRankZero(
      ranks,
      "the config of the run",
      () => withSplitOfRun(config, train.resume),
    );
    const { dataset: { split_rule } } = written;
    const own = { ...config, dataset: { ...config.dataset, split_rule } };
    const { status } = await run(wholeBatchConfig(own, ranks.size), {
      backend: backendOf(train, config),
      resume: train.resume,
      resumeAnyway: train.resumeAnyway,
      signal,
      watched: page?.line,
      writtenConfig: own,
      version: VERSION,
    });
    await ranks.close();
    return status === "interrupted" ? 130 : 0;
  },
};
