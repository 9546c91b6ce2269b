/**
 * What a user should know of a data set before a run: how many rows have pictures, and what looks
 * like pictures and is not used.
 *
 * @module
 */
import type { PictureCount } from "./dataset.ts";

/** What the notes are about. */
export interface NotedDataset {
  readonly name: string;
  readonly pictures: PictureCount | null;
  readonly notes: readonly string[];
  /** Which part of the rows is taken, in words; null: all. */
  readonly selection: string | null;
}

/** How many rows have pictures, in words: `20 of 20 rows`. */
export function picturesText({ pictures }: Pick<NotedDataset, "pictures">): string {
  return pictures === null ? "not known (streamed)" : `${pictures.rows} of ${pictures.of} rows`;
}

/**
 * Warnings about a data set, one a line; none if all is as expected.
 *
 * @param dataset opened
 */
export function dataWarnings(dataset: NotedDataset): string[] {
  const { name, pictures, notes, selection } = dataset;
  const warnings = notes.map((note) => `${name}: ${note}`);
  if (pictures !== null && pictures.rows === 0) {
    warnings.unshift(
      `${name}: no row has a picture, so that the model sees text alone. Pictures are read from ` +
        "image, images, parts of messages, and the one other column that names or holds them",
    );
  } else if (pictures !== null && pictures.rows < pictures.of) {
    warnings.unshift(
      `${name}: ${pictures.of - pictures.rows} of ${pictures.of} rows have no picture`,
    );
  }
  if (selection !== null) warnings.unshift(`${name}: ${selection}`);
  return warnings;
}
