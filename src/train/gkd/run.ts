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
import { askBeforeTraining, HeldOutQuestions } from "../sft/held_out_questions.ts";
import { gkdFacts, gkdGroups, gkdMethod } from "./setup.ts";
import { withTeacher } from "./starter.ts";
import { Teacher } from "./teacher.ts";

/** The method, groups and closing results of GKD. */
export async function setUpGKD(
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
  const thing = heldOutThing(data.heldOut);
  const questions = heldOut !== null && await hasShortAnswers(heldOut)
    ? new HeldOutQuestions(prepared, heldOut, thing)
    : null;
  const method = gkdMethod(config, {
    prepared,
    teacher,
    train,
    evaluation,
    answerSamples: samples,
  });
  return {
    method,
    groups: gkdGroups(prepared, config),
    warnings,
    title: `GKD on ${config.dataset.train_data_path}`,
    facts: [dataFacts(config, data, "examples"), gkdFacts(config, teacher)],
    before: (signal) =>
      askBeforeTraining({ method, model: prepared.model, heldOut, samples, questions }, signal),
    async closing(_, signal) {
      const next = [...askCommands(config), measureCommand(config)];
      if (heldOut === null || questions === null) return { tables: [], next };
      const own = await exactMatchTable(questions, train, signal);
      const asked = new HeldOutQuestions(teacher.loaded, heldOut, thing);
      const theirs = await exactMatchTable(asked, train, signal);
      return {
        tables: [
          ...own.tables,
          ...theirs.tables.map((table) => ({ ...table, title: `The teacher: ${table.title}` })),
        ],
        headlines: [own.headline],
        answers: own.answers,
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
    { ...options, announced: whole !== config },
    (prepared) => setUpGKD(whole, prepared, options.signal),
  );
}
