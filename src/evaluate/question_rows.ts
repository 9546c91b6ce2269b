/**
 * Rows of a vqa data set to questions, each turn on its own or with those before it.
 *
 * @module
 */
import { RowSkipped } from "../data/data_error.ts";
import { turnMessages } from "../data/rows/conversation.ts";
import type { Dataset } from "../data/dataset.ts";
import type { VqaExample } from "../data/rows/formats.ts";
import type { EncodedImage } from "../data/rows/image_cell.ts";
import { type Cell, cellText, isList, type Row } from "../data/rows/row.ts";
import { skippingUnfitGrids } from "../data/unfit_grid.ts";
import type { PromptImage, TextPrompt } from "../generate/generate_text.ts";
import { ImageDecodeError } from "../image/image_header.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import { ChatExampleBuilder } from "../text/chat_example.ts";
import { acceptedAnswers } from "./accepted_answers.ts";

/** A question and its expected answer. */
export interface Question extends TextPrompt {
  readonly images: readonly PromptImage[];
  /** The last user's text. */
  readonly question: string;
  readonly expected: string;
  /** Answers that a metric accepts; `expected` alone if the data has no others. */
  readonly accepted: readonly string[];
  /** Kind of answer, if the data has a column of it. */
  readonly type: string | null;
  /** The row's other columns. */
  readonly columns: Row;
}

/** An example with pictures as files hold them. */
type EncodedExample = { readonly images: readonly EncodedImage[] };

/** Examples by number, as a `Dataset` has them. */
export type ExampleList<E extends EncodedExample> = Pick<
  Dataset<E>,
  "length" | "tryGet" | "place" | "skipped"
>;

/** Columns that may hold the kind of answer: a text, or a list of one a turn. */
export const TYPE_COLUMNS = ["answer_type", "question_type", "type"] as const;

/** Writes the prompts of a model. */
export function chatBuilder({ model, tokenizer }: LoadedModel): ChatExampleBuilder {
  const { mp_image_token_length } = model.config;
  return new ChatExampleBuilder(tokenizer, { mpImageTokenLength: mp_image_token_length });
}

/** Kind of answer of a turn. */
export function answerType(columns: Row, turn: number): string | null {
  for (const name of TYPE_COLUMNS) {
    const cell: Cell | undefined = columns[name];
    const text = cellText(isList(cell) ? cell[turn] : cell);
    if (text !== null && text !== "") return text;
  }
  return null;
}

/**
 * Processes the pictures of a row.
 *
 * @param builder knows how many tiles a picture may have
 * @throws {RowSkipped} if one cannot be decoded or has too many tiles
 */
export async function processImages(
  processor: ImageProcessor,
  builder: ChatExampleBuilder,
  images: readonly EncodedImage[],
): Promise<PromptImage[]> {
  const processed: PromptImage[] = [];
  for (const { bytes, name } of images) {
    try {
      processed.push(await processor.process(bytes));
    } catch (error) {
      if (!(error instanceof ImageDecodeError)) throw error;
      throw new RowSkipped(`${name}: ${error.message}`, "", { cause: error });
    }
  }
  skippingUnfitGrids(() => builder.imageString(processed.map(({ grid }) => grid)));
  return processed;
}

/**
 * Every usable example of a data set with its pictures, in order; rows that cannot be used are
 * counted in its `skipped`.
 *
 * @param signal ends it between two rows
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function* withPictures<E extends EncodedExample>(
  { imageProcessor }: LoadedModel,
  builder: ChatExampleBuilder,
  dataset: ExampleList<E>,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ index: number; example: E; images: PromptImage[] }> {
  for (let i = 0; i < dataset.length && !signal?.aborted; i++) {
    const example = await dataset.tryGet(i);
    if (example === null) continue;
    let images: PromptImage[];
    try {
      images = await processImages(imageProcessor, builder, example.images);
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      dataset.skipped.add(error.at(await dataset.place(i)));
      continue;
    }
    yield { index: i, example, images };
  }
}

/**
 * The questions of a row.
 *
 * @param images the row's, processed: the questions share the objects
 * @param withHistory keep the earlier turns, with their expected answers, in each question
 */
export function questionsOf(
  example: VqaExample,
  images: readonly PromptImage[],
  withHistory: boolean,
): Question[] {
  const { turns, columns } = example;
  return turns.flatMap((asked, turn) => {
    if (asked.weight === 0) return []; // an answer that is not to be learnt
    const before = turns.slice(0, turn);
    const systems = before.flatMap(({ system }) => system === undefined ? [] : [system]);
    return [{
      images,
      messages: [
        ...(withHistory
          ? turnMessages(before)
          : systems.map((content) => ({ role: "system", content }))),
        ...turnMessages([asked]).slice(0, -1),
      ],
      question: asked.user,
      expected: asked.assistant,
      accepted: acceptedAnswers(columns, turn, turns.length, asked.assistant),
      type: answerType(columns, turn),
      columns,
    }];
  });
}
