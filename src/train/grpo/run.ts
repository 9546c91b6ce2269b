/**
 * `train grpo`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { formatNumber } from "../../report/terminal/console_table.ts";
import type { Headline, ResultTable } from "../../report/page/report_contents.ts";
import type { Reporter } from "../../report/reporter.ts";
import type { Concern } from "../../report/watch/concern.ts";
import { startModules } from "./episodes/start_modules.ts";
import { completionsToPrint, grpoFacts, grpoGroups, grpoMethod } from "./setup.ts";
import { withStarter } from "../sft/starter.ts";
import { BUILTIN_FAR_SHAPES } from "../../data/embedded/far_shapes.ts";
import { farStarterFolder, grpoStarterFolder } from "./starter.ts";
import { prepareData } from "../batches/prepare_data.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { type RunOptions, runTraining } from "../run/run.ts";
import { askCommands, dataFacts } from "../run/run_texts.ts";
import type { EvaluationOutcome } from "../loop/training_method.ts";
import type { RunSetup } from "../run/run_driver.ts";
import type { TrainResult } from "../loop/trainer.ts";

/** Rewards of greedy answers before and after. */
export function rewardTable(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): ResultTable {
  const names = Object.keys(after).filter((name) =>
    name === "eval_reward" || /^eval_rewards\/.*\/mean$/.test(name)
  );
  const round = (value: number | undefined) =>
    value === undefined ? null : Number(value.toPrecision(4));
  return {
    title: "Mean reward of greedy answers to held-out prompts",
    columns: ["reward", "before", "after"],
    rows: names.map((name) => [
      name.replace(/^eval_(rewards\/)?/, "").replace(/\/mean$/, ""),
      round(before[name]),
      round(after[name]),
    ]),
  };
}

/** The mean reward of greedy answers, which the run is for. */
export function rewardHeadline(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Headline {
  return {
    name: "Held-out mean reward",
    key: "eval_reward",
    value: formatNumber(after.eval_reward),
    before: formatNumber(before.eval_reward),
  };
}

/** Whether greedy answers earn less than before training; null if they do not. */
export function rewardConcern(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Concern | null {
  const { eval_reward: first } = before, { eval_reward: last } = after;
  if (!(last < first - 0.01 - 0.05 * Math.abs(first))) return null;
  return {
    name: "worse_than_before",
    text: `Greedy answers to held-out prompts earn ${last.toPrecision(3)}, and earned ` +
      `${first.toPrecision(3)} before training: lower training.learning_rate, raise grpo.beta, ` +
      "or see in completions.jsonl what the rewards reward",
  };
}

/** The method, groups and closing results of GRPO. */
async function setUpGRPO(
  config: ResolvedConfig,
  prepared: PreparedModel,
  reporter: Reporter,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const { dataset, grpo } = config;
  const data = await prepareData(config, "grpo", signal);
  const groups = grpoGroups(prepared, config);
  const modules = await startModules(config, (line) => reporter.onModuleLine(line));
  const { scorer } = modules;
  try {
    signal?.throwIfAborted();
    const { method, dispose } = grpoMethod(config, {
      prepared,
      train: data.train,
      evaluation: data.evaluation,
      ...modules,
      groups,
      onCompletions: (rows) => reporter.onCompletions(rows),
    });
    let before: EvaluationOutcome | null = null;
    return {
      method,
      groups,
      warnings: data.warnings,
      title: `GRPO (${grpo.loss_type}) on ${dataset.train_data_path}`,
      facts: [dataFacts(config, data, "prompts"), grpoFacts(config, scorer)],
      completionsToPrint: completionsToPrint(config),
      async before(signal) {
        before = await method.evaluate(signal);
        return before;
      },
      async closing(_, signal) {
        const after = before && await method.evaluate(signal);
        const concern = before && after && rewardConcern(before.metrics, after.metrics);
        return {
          concerns: concern ? [concern] : [],
          tables: before && after ? [rewardTable(before.metrics, after.metrics)] : [],
          headlines: before && after ? [rewardHeadline(before.metrics, after.metrics)] : [],
          ...(after?.all ? { answers: { shown: after.samples, all: after.all } } : {}),
          next: askCommands(config),
        };
      },
      async dispose() {
        dispose();
        await modules[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await modules[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Runs GRPO or one of its variants.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runGRPO(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  const started = await withStarter(
    await withStarter(config, options, grpoStarterFolder),
    options,
    farStarterFolder,
    BUILTIN_FAR_SHAPES,
  );
  return await runTraining(
    started,
    { ...options, announced: started !== config },
    (prepared, reporter) => setUpGRPO(started, prepared, reporter, options.signal),
  );
}
