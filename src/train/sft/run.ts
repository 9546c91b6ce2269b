/**
 * `train sft`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { prepareData } from "../batches/prepare_data.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { type RunOptions, runTraining } from "../run/run.ts";
import { askCommands, dataFacts, heldOutThing, measureCommand } from "../run/run_texts.ts";
import type { RunSetup } from "../run/run_driver.ts";
import { answerSamples, exactMatchTable, hasShortAnswers } from "./closing.ts";
import { askBeforeTraining, HeldOutQuestions } from "./held_out_questions.ts";
import { sftGroups, sftMethod } from "./setup.ts";
import type { TrainResult } from "../loop/trainer.ts";

/** The method, groups and closing results of SFT. */
export async function setUpSFT(
  config: ResolvedConfig,
  prepared: PreparedModel,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const { dataset } = config;
  const data = await prepareData(config, "vqa", signal);
  const { train } = data;
  const heldOut = data.evaluation?.streaming === false ? data.evaluation : null;
  const samples = heldOut && ((signal?: AbortSignal) => answerSamples(prepared, heldOut, signal));
  const questions = heldOut !== null && await hasShortAnswers(heldOut)
    ? new HeldOutQuestions(prepared, heldOut, heldOutThing(data.heldOut))
    : null;
  const method = sftMethod(config, {
    prepared,
    train,
    evaluation: data.evaluation,
    answerSamples: samples,
  });
  return {
    method,
    groups: sftGroups(prepared, config),
    warnings: data.warnings,
    title: `SFT on ${dataset.train_data_path}`,
    facts: [dataFacts(config, data, "examples")],
    before: (signal) =>
      askBeforeTraining({ method, model: prepared.model, heldOut, samples, questions }, signal),
    async closing(_, signal) {
      const measured = questions && await exactMatchTable(questions, train, signal);
      return {
        tables: measured?.tables ?? [],
        headlines: measured ? [measured.headline] : [],
        ...(measured ? { answers: measured.answers } : {}),
        concerns: measured?.concern ? [measured.concern] : [],
        next: [...askCommands(config), measureCommand(config)],
      };
    },
  };
}

/**
 * Runs SFT.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runSFT(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  return await runTraining(
    config,
    options,
    (prepared) => setUpSFT(config, prepared, options.signal),
  );
}
