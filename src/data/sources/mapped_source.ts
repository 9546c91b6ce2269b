import { DataError } from "../data_error.ts";
import type { PlacedRow, Row } from "../rows/row.ts";
import type { RowSource } from "./row_source.ts";
import type { RowTransform } from "../rows/row_transform.ts";

const BATCH_ROWS = 64;

/**
 * A source with its columns renamed.
 *
 * @param source where the rows come from
 * @param renames new names by old ones
 * @throws {DataError} if a new name is taken already
 */
export function renameColumns(
  source: RowSource,
  renames: Readonly<Record<string, string>>,
): RowSource {
  // As in NanoVLM-Lab, a column that is not there is left alone: one mapping can serve two sets.
  const known = Object.entries(renames).filter(([from, to]) =>
    from !== to && source.columns.includes(from)
  );
  if (known.length === 0) return source;
  const names = new Map(known);
  const columns = source.columns.map((column) => names.get(column) ?? column);
  const twice = columns.find((column, i) => columns.indexOf(column) !== i);
  if (twice !== undefined) {
    throw new DataError(
      `Cannot rename columns of ${source.name}: there would be two columns ${twice}; ` +
        `it has ${source.columns.join(", ")}`,
    );
  }
  const original = new Map(known.map(([from, to]) => [to, from]));
  const rename = (placed: PlacedRow): PlacedRow => ({
    ...placed,
    row: Object.fromEntries(
      Object.entries(placed.row).map(([name, cell]) => [names.get(name) ?? name, cell]),
    ),
  });
  return {
    name: source.name,
    columns,
    notes: source.notes,
    countRows: () => source.countRows(),
    get: async (index) => rename(await source.get(index)),
    async *rows(start, end, wanted, shapeOnly) {
      const before = (column: string) => original.get(column) ?? column;
      const inner = [wanted?.map(before), shapeOnly?.map(before)] as const;
      for await (const placed of source.rows(start, end, ...inner)) yield rename(placed);
    },
  };
}

/**
 * A source whose rows pass a row-by-row transform whenever they are read.
 *
 * @param source where the rows come from
 * @param transform a transform with `rowwise`
 */
export async function transformRowwise(
  source: RowSource,
  transform: RowTransform,
): Promise<RowSource> {
  const applyTo = async (batch: readonly PlacedRow[]): Promise<PlacedRow[]> => {
    const rows = await transform.apply(batch.map((placed) => placed.row));
    if (rows.length !== batch.length) {
      throw new DataError(
        `Cannot preprocess ${source.name}: ${transform.name} gave ${rows.length} rows for ` +
          `${batch.length}; only functions whose names start with batch_ may change their number`,
      );
    }
    return batch.map((placed, i) => ({ ...placed, row: rows[i] }));
  };
  const columns = new Set<string>();
  for await (const placed of source.rows(0, 1)) {
    const [first] = await applyTo([placed]);
    for (const name of Object.keys(first.row)) columns.add(name);
  }
  return {
    name: source.name,
    columns: [...columns],
    notes: source.notes,
    countRows: () => source.countRows(),
    get: async (index) => (await applyTo([await source.get(index)]))[0],
    async *rows(start, end, _wanted, shapeOnly) {
      // Any column may be needed to make the wanted ones.
      let batch: PlacedRow[] = [];
      for await (const placed of source.rows(start, end, undefined, shapeOnly)) {
        batch.push(placed);
        if (batch.length < BATCH_ROWS) continue;
        yield* await applyTo(batch);
        batch = [];
      }
      if (batch.length > 0) yield* await applyTo(batch);
    },
  };
}

/** Rows of a batch as columns: an object of lists of the same length. */
export function toColumns(rows: readonly Row[]): Record<string, Row[string][]> {
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  // A name such as `constructor` must not find what objects inherit.
  const cells = (name: string) => rows.map((row) => Object.hasOwn(row, name) ? row[name] : null);
  return Object.fromEntries([...names].map((name) => [name, cells(name)]));
}
