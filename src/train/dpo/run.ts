/**
 * `train dpo`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { initBackend } from "../../device/backend.ts";
import { Progress } from "../../report/terminal/progress.ts";
import {
  dpoExampleMaker,
  dpoFacts,
  dpoGroups,
  dpoLossOptions,
  dpoMethod,
  makeReference,
} from "./setup.ts";
import { picturesText } from "../../data/data_notes.ts";
import { prepareData } from "../batches/prepare_data.ts";
import { BUILTIN_SHAPES } from "../../data/embedded/embedded_dataset.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { type RunOptions, runTraining } from "../run/run.ts";
import type { RunSetup } from "../run/run_driver.ts";
import { starterFolder } from "../sft/starter.ts";
import type { TrainResult } from "../loop/trainer.ts";

/**
 * Steps of SFT behind the model that the embedded default starts from: enough to answer in the
 * right words, too few to look at the picture.
 */
const STARTER_STEPS = 40;

/** The progress of work before training: a line when it begins, then a bar. */
function progressOf(label: string, begins: (total: number) => string): {
  update: (done: number, total: number) => void;
  finish: () => void;
} {
  const progress = new Progress(label);
  let begun = false;
  return {
    update(step, totalSteps) {
      if (!begun) progress.print(begins(totalSteps));
      begun = true;
      progress.update({ step, totalSteps });
    },
    finish: () => progress.finish(),
  };
}

/** The method, groups and closing results of DPO. */
async function setUpDPO(
  config: ResolvedConfig,
  prepared: PreparedModel,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const { dataset } = config;
  dpoLossOptions(config); // reports a setting that the loss cannot use before data is read
  const { train, evaluation, warnings } = await prepareData(config, "preference", signal);
  const maker = dpoExampleMaker(prepared, config);
  const groups = dpoGroups(prepared, config);
  const progress = progressOf(
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
      {
        title: "Data",
        facts: [
          ["training", `${dataset.train_data_path} (${dataset.train_split})`],
          ["pairs", train.length ?? "not known (streamed)"],
          ["with pictures", picturesText(train)],
          ["held out", evaluation?.length ?? "none"],
        ],
      },
      dpoFacts(config, reference),
    ],
    async closing({ status }, signal) {
      const saved = config.save.save_model_path;
      const data = dataset.eval_data_path ?? dataset.train_data_path;
      if (status === "done") await method.evaluate(signal);
      const before = config.dpo.ref_model_name_or_path === null ? "before" : "reference";
      return {
        tables: method.counts ? [method.counts.table(before)] : [],
        concerns: method.counts?.concern ? [method.counts.concern] : [],
        next: [
          {
            label: "ask it about a picture of yours",
            command: `deno task generate --model ${saved} --image PICTURE.png --prompt "QUESTION"`,
          },
          {
            label: "measure it",
            command: `deno task eval --model ${saved} --data ${data} --format preference`,
          },
        ],
      };
    },
    dispose: () => reference?.dispose(),
  };
}

/**
 * The model of the embedded default: a starter, made beside the output folder if it does not exist
 * yet.
 */
async function withStarter(config: ResolvedConfig, options: RunOptions): Promise<ResolvedConfig> {
  if (config.model.model_name_or_path !== BUILTIN_SHAPES) return config;
  await initBackend({ backend: options.backend });
  const progress = progressOf(
    "starter",
    (steps) => `a starter model, made now: ${steps} steps of SFT on the drawn shapes`,
  );
  const folder = await starterFolder(config.training.output_dir, {
    steps: STARTER_STEPS,
    onProgress: progress.update,
    signal: options.signal,
  }).finally(progress.finish);
  return { ...config, model: { ...config.model, model_name_or_path: folder } };
}

/**
 * Runs DPO.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runDPO(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  const whole = await withStarter(config, options);
  return await runTraining(
    whole,
    options,
    (prepared) => setUpDPO(whole, prepared, options.signal),
  );
}
