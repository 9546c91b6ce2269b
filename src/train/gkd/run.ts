/**
 * `train gkd`: from a config to a distilled model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { prepareData } from "../batches/prepare_data.ts";
import type { TrainResult } from "../loop/trainer.ts";
import { keepPictureFeatures } from "../run/keep_picture_features.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { type RunOptions, runTraining } from "../run/run.ts";
import type { RunSetup } from "../run/run_driver.ts";
import { askCommands, dataFacts, heldOutThing, measureCommand } from "../run/run_texts.ts";
import { answerSamples, exactMatchTable, hasShortAnswers } from "../sft/closing.ts";
import { gkdFacts, gkdGroups, gkdMethod } from "./setup.ts";
import { withTeacher } from "./starter.ts";
import { Teacher } from "./teacher.ts";

/** The method, groups and closing results of GKD. */
async function setUpGKD(
  config: ResolvedConfig,
  prepared: PreparedModel,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const data = await prepareData(config, "vqa", signal);
  const { train, evaluation, warnings } = data;
  const teacher = await Teacher.load(config.gkd.teacher_model_name_or_path!, prepared);
  // Nothing of the teacher trains.
  const kept = keepPictureFeatures(teacher.loaded.model, [], config.training);
  const heldOut = evaluation?.streaming === false ? evaluation : null;
  const samples = heldOut && ((signal?: AbortSignal) => answerSamples(prepared, heldOut, signal));
  return {
    method: gkdMethod(config, { prepared, teacher, train, evaluation, answerSamples: samples }),
    groups: gkdGroups(prepared, config),
    warnings,
    title: `GKD on ${config.dataset.train_data_path}`,
    facts: [dataFacts(config, data, "examples"), gkdFacts(config, teacher)],
    async closing(_, signal) {
      const next = [...askCommands(config), measureCommand(config)];
      if (heldOut === null || !await hasShortAnswers(heldOut)) return { tables: [], next };
      const held = { dataset: heldOut, thing: heldOutThing(data.heldOut) };
      const own = await exactMatchTable(prepared, train, held, signal);
      const theirs = await exactMatchTable(teacher.loaded, train, held, signal);
      return {
        tables: [own.table, { ...theirs.table, title: `The teacher: ${theirs.table.title}` }],
        concerns: own.concern ? [own.concern] : [],
        next,
      };
    },
    dispose() {
      kept?.dispose();
      teacher[Symbol.dispose]();
    },
  };
}

/**
 * Runs GKD.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runGKD(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  const whole = await withTeacher(config, options);
  return await runTraining(
    whole,
    options,
    (prepared) => setUpGKD(whole, prepared, options.signal),
  );
}
