/**
 * `train dpo`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import {
  dpoExampleMaker,
  dpoFacts,
  dpoGroups,
  dpoLossOptions,
  dpoMethod,
  makeReference,
} from "./setup.ts";
import { evaluateBefore } from "../run/before_training.ts";
import { prepareData } from "../batches/prepare_data.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { type RunOptions, runTraining } from "../run/run.ts";
import type { RunSetup } from "../run/run_driver.ts";
import { preparationProgress } from "../run/preparation_progress.ts";
import { askCommands, dataFacts, measureCommand } from "../run/run_texts.ts";
import { setUpKTO } from "../kto/run.ts";
import { ktoLossType } from "../kto/setup.ts";
import { starterFolder, withStarter } from "../sft/starter.ts";
import type { TrainResult } from "../loop/trainer.ts";

/**
 * Steps of SFT behind the model that the embedded default starts from: enough to answer in the
 * right words, too few to look at the picture.
 */
const STARTER_STEPS = 40;

/** The method, groups and closing results of DPO. */
async function setUpDPO(
  config: ResolvedConfig,
  prepared: PreparedModel,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const { dataset } = config;
  dpoLossOptions(config); // reports a setting that the loss cannot use before data is read
  const data = await prepareData(config, "preference", signal);
  const { train, evaluation, warnings } = data;
  const maker = dpoExampleMaker(prepared, config);
  const groups = dpoGroups(prepared, config);
  const progress = preparationProgress(
    "reference",
    (pairs) => `the reference's log-probabilities of ${pairs} pairs, once, before training`,
  );
  const reference = await makeReference({
    config,
    prepared,
    groups,
    maker,
    train,
    evaluation,
    signal,
    onProgress: progress.update,
  });
  progress.finish();
  const method = dpoMethod(config, { prepared, maker, train, evaluation, reference });
  return {
    method,
    groups,
    warnings,
    title: `DPO on ${dataset.train_data_path}`,
    facts: [
      dataFacts(config, data, "pairs"),
      dpoFacts(config, reference),
    ],
    before: (signal) => evaluateBefore(method, prepared.model, evaluation, signal),
    async closing({ status }, signal) {
      const outcome = status === "done" ? await method.evaluate(signal) : null;
      const before = config.dpo.ref_model_name_or_path === null ? "before" : "reference";
      return {
        tables: method.counts ? [method.counts.table(before)] : [],
        ...(outcome?.all ? { answers: { shown: outcome.samples, all: outcome.all } } : {}),
        concerns: method.counts?.concern ? [method.counts.concern] : [],
        next: [...askCommands(config), measureCommand(config, "preference")],
      };
    },
    dispose: () => reference?.dispose(),
  };
}

/** The config with the starter of the embedded default, if it asks for that. */
export async function withDPOStarter(
  config: ResolvedConfig,
  options: Pick<RunOptions, "backend" | "signal" | "watched" | "announced">,
): Promise<ResolvedConfig> {
  return await withStarter(
    config,
    options,
    (outputDir, starter) => starterFolder(outputDir, { steps: STARTER_STEPS, ...starter }),
  );
}

/** The method, groups and closing results of DPO, or of KTO if the loss is of unpaired answers. */
export async function setUpPreferences(
  config: ResolvedConfig,
  prepared: PreparedModel,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const setUp = ktoLossType(config) === null ? setUpDPO : setUpKTO;
  return await setUp(config, prepared, signal);
}

/**
 * Runs DPO.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runDPO(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  const whole = await withDPOStarter(config, options);
  return await runTraining(
    whole,
    { ...options, announced: whole !== config },
    (prepared) => setUpPreferences(whole, prepared, options.signal),
  );
}
