/**
 * Ids of rows, checked before a kernel reads what they point at.
 * @module
 */

/** @throws {RangeError} if an id is not a row of a table with `rows` rows */
export function checkRowIds(ids: Int32Array, rows: number): void {
  for (const id of ids) {
    if (id < 0 || id >= rows) {
      throw new RangeError(`Cannot take row ${id}: the table has ${rows} rows`);
    }
  }
}
