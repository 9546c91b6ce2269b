/**
 * Turns that are left out by their ratings, as FineVision has them: beside `texts`, a column
 * `…_ratings` holds a number for each turn.
 *
 * Source: nanoVLM's `data/datasets.py` and its `…_min_rating` of `TrainConfig`; a turn without a
 * rating stays.
 *
 * @module
 */
import { DataError } from "../data_error.ts";
import { parsedCell } from "./conversation.ts";
import type { FormatReader } from "./format_reader.ts";
import { type Cell, isList, type Row } from "./row.ts";

/** Columns of ratings by the key of the least rating that a turn must have. */
export const RATING_COLUMNS = {
  relevance_min_rating: "relevance_ratings",
  image_correspondence_min_rating: "image_correspondence_ratings",
  visual_dependency_min_rating: "visual_dependency_ratings",
  formatting_min_rating: "formatting_ratings",
} as const;

/** The name of a least rating. */
export type RatingKey = keyof typeof RATING_COLUMNS;

/** The least ratings that are asked for. */
export type MinRatings = Readonly<Partial<Record<RatingKey, number>>>;

/** A reader that leaves turns out, and what a user should know of it. */
export interface RatedReader<E> {
  readonly reader: FormatReader<E>;
  readonly notes: readonly string[];
}

/**
 * The reader of a format that leaves out turns with too low a rating.
 *
 * @param reader of the format
 * @param minima the least rating by key; empty: nothing is left out
 * @param columns of the data set
 * @throws {DataError} if there are ratings and no column `texts` that they belong to
 */
export function ratedReader<E>(
  reader: FormatReader<E>,
  minima: MinRatings,
  columns: readonly string[],
): RatedReader<E> {
  const asked = Object.entries(RATING_COLUMNS).flatMap(([key, column]) => {
    const least = minima[key as RatingKey];
    return least === undefined ? [] : [{ key, column, least }];
  });
  const known = asked.filter(({ column }) => columns.includes(column));
  const notes = asked.filter((one) => !known.includes(one)).map(({ key, column }) =>
    `there is no column ${column}, so that ${key} leaves nothing out`
  );
  if (known.length === 0) return { reader, notes };
  if (!columns.includes("texts")) {
    throw new DataError(
      `Cannot leave turns out by ${known[0].column}: the ratings are those of the entries of a ` +
        `column texts, and the columns are ${columns.join(", ")}; remove dataset.${known[0].key}`,
    );
  }
  return {
    notes,
    reader: {
      ...reader,
      textColumns: [...reader.textColumns, ...known.map(({ column }) => column)],
      read(row, splitTurns) {
        const texts = parsedCell(row.texts);
        if (!isList(texts)) return reader.read(row, splitTurns);
        const ratings = known.map(({ column, least }) => ({
          cell: parsedCell(row[column]),
          least,
        }));
        const kept = texts.map((_, turn) =>
          ratings.every(({ cell, least }) => isRatedEnough(cell, turn, least))
        );
        const leftOut = kept.filter((one) => !one).length;
        if (leftOut === 0) return reader.read(row, splitTurns);
        if (leftOut === texts.length) return { examples: [], places: [], leftOut };
        return { ...reader.read(keptTurns(row, texts, kept), splitTurns), leftOut };
      },
    },
  };
}

function isRatedEnough(cell: Cell | undefined, turn: number, least: number): boolean {
  const rating = isList(cell) ? cell[turn] : null;
  return typeof rating !== "number" || rating >= least;
}

/** The row without the turns; a column with an entry for each turn loses those entries. */
function keptTurns(row: Row, texts: readonly Cell[], kept: readonly boolean[]): Row {
  const cells = Object.entries(row).map(([name, cell]): [string, Cell] => {
    if (name === "texts") return [name, texts.filter((_, turn) => kept[turn])];
    const isOfTurns = name.endsWith("_ratings") && isList(cell) && cell.length === texts.length;
    return [name, isOfTurns ? cell.filter((_, turn) => kept[turn]) : cell];
  });
  return Object.fromEntries(cells);
}
