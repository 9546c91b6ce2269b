import type { Row } from "./row.ts";

/** How many rows a `batch_` function gets at once, as in `datasets`' `map`. */
export const TRANSFORM_BATCH_ROWS = 1000;

/** One step of preprocessing: rows in, rows out. */
export interface RowTransform {
  /** For messages: the function's name. */
  readonly name: string;
  /**
   * Whether it gives one row for each it gets, in order, cheaply and always the same: then it is
   * applied whenever a row is read, and nothing is stored.
   */
  readonly rowwise: boolean;
  /**
   * Applies it.
   *
   * @param rows up to 1,000 rows
   * @throws {DataError} if the function fails or does not return rows
   */
  apply(rows: readonly Row[]): Promise<Row[]>;
}
