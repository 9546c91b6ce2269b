/**
 * What the readers of the formats share: the examples, and the contents of a row.
 *
 * @module
 */
import type { ChatMessage, Turn } from "./conversation.ts";
import { DataError } from "../data_error.ts";
import { type EncodedImage, IMAGE_COLUMNS } from "./image_cell.ts";
import { nearestName } from "../../config/nearest.ts";
import type { PicturePlace } from "./message_parts.ts";
import type { Cell, Row } from "./row.ts";

/**
 * The format of a data set: `dataset.dataset_format`; `unpaired` is that of `preference` for losses
 * of single answers.
 */
export type DatasetFormat = "vqa" | "preference" | "unpaired" | "grpo";

/** A format that data is evaluated in. */
export type EvaluatedFormat = Exclude<DatasetFormat, "unpaired">;

/** For SFT: pictures, then questions with their answers. */
export interface VqaExample {
  /** The pictures, in the order of the conversation. */
  readonly images: readonly EncodedImage[];
  /** At least one. */
  readonly turns: readonly Turn[];
  /** The other columns of the row. */
  readonly columns: Row;
}

/** For DPO: a prompt, a better and a worse answer. */
export interface PreferenceExample {
  /** The pictures, in the order of the conversation. */
  readonly images: readonly EncodedImage[];
  /** The conversation up to the answer; its last message is the user's. */
  readonly prompt: readonly ChatMessage[];
  /** The better answer. */
  readonly chosen: string;
  /** The worse answer. */
  readonly rejected: string;
  /** The other columns of the row. */
  readonly columns: Row;
}

/** For KTO: a prompt, and an answer that is good or bad. */
export interface UnpairedExample {
  /** The pictures, in the order of the conversation. */
  readonly images: readonly EncodedImage[];
  /** The conversation up to the answer; its last message is the user's. */
  readonly prompt: readonly ChatMessage[];
  readonly completion: string;
  /** Whether the answer is a good one. */
  readonly desirable: boolean;
  /** The other columns of the row. */
  readonly columns: Row;
}

/** For GRPO: a prompt, and the columns for the reward functions. */
export interface GrpoExample {
  /** The pictures, in the order of the conversation. */
  readonly images: readonly EncodedImage[];
  /** The conversation up to the answer; its last message is the user's. */
  readonly prompt: readonly ChatMessage[];
  /** Whether the data has chat messages rather than a string; rewards then get messages too. */
  readonly conversational: boolean;
  /** Every other column, which reaches the reward functions by its name. */
  readonly columns: Row;
}

/** The example that a format gives. */
export type ExampleOf<F extends DatasetFormat> = F extends "vqa" ? VqaExample
  : F extends "preference" ? PreferenceExample
  : F extends "unpaired" ? UnpairedExample
  : GrpoExample;

/** An example without its pictures. */
export type TextOf<E> = Omit<E, "images">;

/** The texts of a row, and the pictures that they have places for. */
export interface RowContents<E> {
  readonly examples: TextOf<E>[];
  /** In order: pictures that stand in messages, null for marks of pictures in a column. */
  readonly places: readonly PicturePlace[];
  /** Turns that were left out on purpose; default 0. */
  readonly leftOut?: number;
}

/** Reads rows of one format. */
export interface FormatReader<E> {
  /**
   * Checks that the columns it needs are there.
   *
   * @throws {DataError} if one is missing; the message names the columns found and the nearest
   */
  checkColumns(columns: readonly string[], origin: string): void;
  /** Columns that may hold texts of a conversation; no picture is looked for in them. */
  readonly textColumns: readonly string[];
  /**
   * The texts of a row; no example if all of it is left out on purpose.
   *
   * @throws {RowSkipped} if the row cannot be used
   */
  read(row: Row, splitTurns: boolean): RowContents<E>;
}

/** Whether a cell holds something. */
export function isThere(cell: Cell | undefined): cell is Exclude<Cell, null> {
  return cell !== null && cell !== undefined;
}

/** A row without the columns that an example is made of. */
export function without(row: Row, used: readonly string[]): Row {
  const hidden = new Set<string>([...used, ...IMAGE_COLUMNS]);
  return Object.fromEntries(Object.entries(row).filter(([name]) => !hidden.has(name)));
}

/** What a format wants of the columns of a data set. */
export interface WantedColumns {
  readonly format: DatasetFormat;
  /** The columns wanted, in words. */
  readonly wanted: string;
  /** The one whose nearest column is named. */
  readonly key: string;
}

/** The error for a data set without the columns of a format. */
export function missingColumns(
  { format, wanted, key }: WantedColumns,
  columns: readonly string[],
  origin: string,
): DataError {
  const nearest = nearestName(key, columns);
  return new DataError(
    `Cannot read ${origin} as ${format}: want a column ${wanted}, got ${
      columns.join(", ") || "no columns"
    }${nearest === undefined ? "" : ` (nearest: ${nearest})`}; ` +
      `rename one with dataset.rename_columns, or make it in dataset.preprocessing_fn`,
  );
}
