/**
 * What every run says of its data at its start, and which commands it offers at its end.
 *
 * @module
 */
import { dirname } from "node:path";
import type { DatasetSection, ResolvedConfig } from "../../config/types/config_types.ts";
import { picturesText } from "../../data/data_notes.ts";
import { BUILTIN_DRAWINGS } from "../../data/embedded/drawings.ts";
import { EMBEDDED_DATA } from "../../data/embedded/embedded_dataset.ts";
import { SHAPES } from "../../data/embedded/embedded_shapes_picture.ts";
import { EXAMPLE_QUESTIONS } from "../../data/embedded/embedded_shapes_questions.ts";
import type { DatasetFormat } from "../../data/rows/formats.ts";
import type { HeldOutPictures } from "../../data/splits/picture_overlap.ts";
import type { TrainEvalDatasets } from "../../data/splits/train_eval.ts";
import type { FactGroup, NextCommand } from "../../report/page/report_contents.ts";

/**
 * The report's facts about the data.
 *
 * @param examples what they are called: examples, pairs, prompts
 */
export function dataFacts(
  { dataset }: ResolvedConfig,
  { train, evaluation, heldOut, shares }: Omit<TrainEvalDatasets<DatasetFormat>, "warnings">,
  examples: string,
): FactGroup {
  return {
    title: "Data",
    facts: [
      ["training", trainingText(dataset, train.selection)],
      [examples, train.length ?? "not known (streamed)"],
      ...(shares ?? []).map(({ name, rows, share }): [string, string] => [
        `rows of ${name}`,
        `${rows} an epoch, ${(100 * share).toFixed(1)} %`,
      ]),
      ["with pictures", picturesText(train)],
      ["held out", evaluation === null ? "none" : heldOutText(evaluation.length, heldOut)],
    ],
  };
}

function trainingText(
  { train_data_path, train_split, name, mixture }: DatasetSection,
  selection: string | null,
): string {
  if (mixture.datasets.length > 0) return train_data_path;
  const configs = name.length === 0 ? "" : `${name.join(", ")}, `;
  return `${train_data_path} (${configs}${selection ?? train_split})`;
}

/** How much is held out, and whether its pictures are. */
export function heldOutText(examples: number | null, heldOut: HeldOutPictures | null): string {
  const count = examples === null ? "not known (streamed)" : String(examples);
  if (heldOut === null) return count;
  const { pictures, inTraining } = heldOut;
  return inTraining === 0
    ? `${count}, about ${pictures} pictures that no training row shows`
    : `${count}; ${inTraining} of their ${pictures} pictures are in training rows too`;
}

/** What the evaluation never saw in training: `pictures`, or `questions` if it saw the pictures. */
export function heldOutThing(heldOut: HeldOutPictures | null): "pictures" | "questions" {
  return heldOut !== null && heldOut.inTraining === 0 ? "pictures" : "questions";
}

/**
 * The commands that ask the final model, once and on a page, that give it to others, and that show
 * this run beside others.
 */
export function askCommands(config: ResolvedConfig): NextCommand[] {
  const { model: { use_lora }, save, training } = config;
  const model = `--model ${save.save_model_path}`;
  const site = {
    label: "make a site that runs it in a visitor's browser",
    command: `deno task export web ${model} --out SITE`,
  };
  return [
    askCommand(config, model),
    { label: "talk to it in a browser", command: `deno task serve ${model}` },
    // An adapter is not exported; it is merged before.
    ...use_lora ? [] : [site],
    {
      label: "watch this run beside others in a browser, the running ones too",
      command: `deno task runs ${dirname(training.output_dir)}`,
    },
  ];
}

/** The command that asks about a picture; a model of drawings is told with what it knows. */
function askCommand({ dataset }: ResolvedConfig, model: string): NextCommand {
  const generate = `deno task generate ${model} --image PICTURE.png --prompt`;
  if (dataset.train_data_path !== BUILTIN_DRAWINGS) {
    return { label: "ask it about a picture of yours", command: `${generate} "QUESTION"` };
  }
  const [first, ...others] = EXAMPLE_QUESTIONS;
  return {
    label:
      `ask it about a drawing of yours, of one to four shapes (${SHAPES.join(", ")}); it also ` +
      `knows ${others.join(" ")} --probs tells how sure it is`,
    command: `${generate} "${first}" --probs`,
  };
}

/**
 * The command that measures the final model, on the split that the run held out. Held-out rows that
 * are a part of the training rows have no split of their own.
 *
 * @param format of the data, if it is not vqa
 */
export function measureCommand(
  { save, dataset }: ResolvedConfig,
  format?: DatasetFormat,
): NextCommand {
  const evaluate = `deno task eval --model ${save.save_model_path}`;
  const ending = format === undefined ? "" : ` --format ${format}`;
  const { datasets } = dataset.mixture;
  if (datasets.length > 0 && dataset.eval_data_path === null) {
    const [{ path, eval_path, eval_split }] = datasets;
    const split = eval_path ? eval_split ?? dataset.eval_split : "SPLIT";
    return {
      label: "measure it on a data set of the mixture, on a split that it did not train on",
      command: `${evaluate} --data ${eval_path ?? path} --split ${split}${ending}`,
    };
  }
  const path = dataset.eval_data_path ??
    (EMBEDDED_DATA.includes(dataset.train_data_path) ? dataset.train_data_path : null);
  return path === null
    ? {
      label: `measure it on another split than ${dataset.train_split} of ` +
        `${dataset.train_data_path}, which it trained on a part of`,
      command: `${evaluate} --data DATA --split SPLIT${ending}`,
    }
    : {
      label: `measure it on the held-out split, ${dataset.eval_split}`,
      command: `${evaluate} --data ${path} --split ${dataset.eval_split}${ending}`,
    };
}
