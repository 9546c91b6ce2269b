/**
 * A prompt with one answer → token ids and tiles: what KTO scores and GKD distils.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import { skippingUnfitGrids } from "../../data/unfit_grid.ts";
import type { EncodedImage } from "../../data/rows/image_cell.ts";
import type { ImageTiles } from "../../model/batch.ts";
import { labelledAnswer, type PackedRow, packRows } from "../../model/branches.ts";
import type { ChatMessage } from "../../text/tokenizer.ts";
import type { ExampleParts } from "./example_parts.ts";

/** A prompt and an answer as the model takes them. */
export interface PromptedAnswer {
  readonly promptIds: readonly number[];
  /** The end token included; cut to what max_seq_length leaves. */
  readonly answerIds: readonly number[];
  readonly images: readonly ImageTiles[];
  /** The data set's row; null if rows are not known (streams). */
  readonly row: number | null;
}

/** A prompt and an answer as text. */
export interface PromptAndAnswer {
  readonly images: readonly EncodedImage[];
  readonly prompt: readonly ChatMessage[];
  readonly completion: string;
}

/**
 * Tokenizes a prompt with its answer.
 *
 * @param maxLength longest sequence, tokens; answers lose their end, prompts nothing
 * @param row of the data set; null if rows are not known
 * @throws {RowSkipped} if an image cannot be used, the prompt leaves no room, or the answer has no text
 */
export async function promptedAnswer(
  parts: ExampleParts,
  maxLength: number,
  { images: encoded, prompt, completion }: PromptAndAnswer,
  row: number | null,
): Promise<PromptedAnswer> {
  const images = await parts.tiles.process(encoded, row === null ? null : String(row));
  const grids = images.map(({ grid }) => grid);
  const both = { prompt, chosen: completion, rejected: completion };
  const ids = skippingUnfitGrids(() => parts.builder.buildPreference(both, grids));
  const room = maxLength - ids.promptIds.length;
  if (room < 1) {
    throw new RowSkipped(
      `the prompt has ${ids.promptIds.length} tokens, ${ids.imageTokenCount} of them of images; ` +
        `max_seq_length ${maxLength} leaves no room for an answer`,
    );
  }
  // A single token is the end token: the text was empty or had nothing but image tokens.
  if (ids.chosenIds.length < 2) throw new RowSkipped("the answer has no text");
  return { promptIds: ids.promptIds, answerIds: ids.chosenIds.slice(0, room), images, row };
}

/** Rows of a batch, one an answer; labels in the order of the answers. */
export function answerRows(
  examples: readonly PromptedAnswer[],
  imageTokenId: number,
): PackedRow[] {
  return examples.flatMap(({ promptIds, answerIds, images }) =>
    packRows([labelledAnswer(promptIds, answerIds)], images, false, imageTokenId)
  );
}

/** Tokens of all answers. */
export function answerTokens(examples: readonly PromptedAnswer[]): number {
  return examples.reduce((sum, { answerIds }) => sum + answerIds.length, 0);
}
