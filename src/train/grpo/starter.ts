/**
 * The model that `train grpo` starts from without a config: it was trained on some drawn
 * shapes, and a fifth of the answers were in the tags that the rewards ask for.
 *
 * @module
 */
import { embeddedShapes, shapesVqaRows } from "../../data/embedded/embedded_shapes.ts";
import { farShapes, farShapesChatRows } from "../../data/embedded/far_shapes.ts";
import { datasetFromRows } from "../../data/load_dataset.ts";
import type { Row } from "../../data/rows/row.ts";
import { starterFolder, type StarterOptions } from "../sft/starter.ts";

/** Optimizer steps of SFT. */
export const GRPO_STARTER_STEPS = 350;

/** An answer in the tags that `builtin:format` and `builtin:accuracy` expect. */
export function taggedAnswer(answer: string): string {
  return `<think></think><answer>${answer}</answer>`;
}

/** The answers of every fifth picture stand in tags. */
function partlyTaggedRows(): Row[] {
  return embeddedShapes().train.flatMap((picture, i): Row[] => {
    const questions = picture.questions.map((question) => ({
      ...question,
      answer: i % 5 === 0 ? taggedAnswer(question.answer) : question.answer,
    }));
    return shapesVqaRows([{ ...picture, questions }]);
  });
}

/**
 * The starter model on disk, beside the output folder: made if it does not exist yet.
 *
 * @param outputDir `training.output_dir`
 * @param options `onProgress`, called after each step of SFT; `signal` ends it, with its reason as the
 *   error
 * @returns the model's folder
 */
export async function grpoStarterFolder(
  outputDir: string,
  { onProgress, signal }: Pick<StarterOptions, "onProgress" | "signal"> = {},
): Promise<string> {
  const train = await datasetFromRows(partlyTaggedRows(), {
    format: "vqa",
    name: "builtin:shapes train, a fifth of it in tags",
    splitTurns: true,
  });
  return await starterFolder(outputDir, {
    steps: GRPO_STARTER_STEPS,
    style: { name: "tags", train },
    onProgress,
    signal,
  });
}

/** Optimizer steps of SFT on near and far shapes. */
export const FAR_STARTER_STEPS = 350;
/** Conversations about far shapes that the starter sees. */
const FAR_PICTURES = 3000;

/**
 * The starter of `configs/shapes_look_closer.yaml`, made as {@linkcode grpoStarterFolder}'s: it knows
 * near shapes, and has seen conversations about far ones in which half of the answers come at once,
 * and half after a look at a part of the picture, which is often the wrong one.
 *
 * @param outputDir `training.output_dir`
 * @param options as for {@linkcode grpoStarterFolder}
 * @returns the model's folder
 */
export async function farStarterFolder(
  outputDir: string,
  { onProgress, signal }: Pick<StarterOptions, "onProgress" | "signal"> = {},
): Promise<string> {
  const rows = [
    ...shapesVqaRows(embeddedShapes().train, true).map(({ images, texts }) => ({ images, texts })),
    ...farShapesChatRows(farShapes("train", FAR_PICTURES)),
  ];
  const train = await datasetFromRows(rows, { format: "vqa", name: "near and far shapes" });
  return await starterFolder(outputDir, {
    steps: FAR_STARTER_STEPS,
    style: { name: "far", train },
    onProgress,
    signal,
  });
}
