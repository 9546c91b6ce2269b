/**
 * `train grpo`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { initBackend } from "../../device/backend.ts";
import type { ResultTable } from "../../report/page/report_contents.ts";
import type { Reporter } from "../../report/reporter.ts";
import type { Concern } from "../../report/watch/concern.ts";
import { CompletionScorer } from "./scoring.ts";
import { completionsToPrint, grpoGroups, grpoMethod } from "./setup.ts";
import { grpoStarterFolder } from "./starter.ts";
import { picturesText } from "../../data/data_notes.ts";
import { prepareData } from "../batches/prepare_data.ts";
import { BUILTIN_SHAPES } from "../../data/embedded/embedded_dataset.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { type RunOptions, runTraining } from "../run/run.ts";
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
    value === undefined ? null : Math.round(value * 1000) / 1000;
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
  const { dataset, grpo, save } = config;
  const data = await prepareData(config, "grpo", signal);
  const groups = grpoGroups(prepared, config);
  const scorer = await CompletionScorer.start(config, (line) => reporter.onModuleLine(line));
  try {
    signal?.throwIfAborted();
    const { method, dispose } = grpoMethod(config, {
      prepared,
      train: data.train,
      evaluation: data.evaluation,
      scorer,
      groups,
      onCompletions: (rows) => reporter.onCompletions(rows),
    });
    const before = await method.evaluate(signal);
    return {
      method,
      groups,
      warnings: data.warnings,
      title: `GRPO (${grpo.loss_type}) on ${dataset.train_data_path}`,
      facts: [{
        title: "Data",
        facts: [
          ["training", `${dataset.train_data_path} (${dataset.train_split})`],
          ["prompts", data.train.length ?? "not known (streamed)"],
          ["with pictures", picturesText(data.train)],
          ["held out", data.evaluation?.length ?? "none"],
          ["completions a prompt", grpo.num_generations],
          ["rewards", scorer.names.join(", ")],
        ],
      }],
      completionsToPrint: completionsToPrint(config),
      async closing(_, signal) {
        const after = before && await method.evaluate(signal);
        const concern = before && after && rewardConcern(before.metrics, after.metrics);
        const ask = `deno task generate --model ${save.save_model_path}`;
        return {
          concerns: concern ? [concern] : [],
          tables: before && after ? [rewardTable(before.metrics, after.metrics)] : [],
          next: [{
            label: "ask it about a picture of yours",
            command: `${ask} --image PICTURE.png --prompt "QUESTION"`,
          }],
        };
      },
      async dispose() {
        dispose();
        await scorer[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await scorer[Symbol.asyncDispose]();
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
  let started = config;
  if (config.model.model_name_or_path === BUILTIN_SHAPES) {
    await initBackend({ backend: options.backend });
    const folder = await grpoStarterFolder(
      config.training.output_dir,
      (step, steps) => {
        if (step % 20 === 0 || step === steps) {
          console.error(`making a model to start from: SFT step ${step} of ${steps}`);
        }
      },
      options.signal,
    );
    started = { ...config, model: { ...config.model, model_name_or_path: folder } };
  }
  return await runTraining(
    started,
    options,
    (prepared, reporter) => setUpGRPO(started, prepared, reporter, options.signal),
  );
}
