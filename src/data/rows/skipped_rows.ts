import { summariseSkipped } from "../../skipped_summary.ts";
import { DataError, type RowSkipped } from "../data_error.ts";

/** The share of rows that may be unusable before a run stops. */
export const MAX_SKIPPED_SHARE = 0.1;

/** Rows that could not be used: how many there are, which, and why. */
export class SkippedRows {
  readonly #reasons = new Map<string, string>();
  readonly #leastRows: number;
  #total: number;

  /**
   * @param total rows that the data has; 0 for a stream, which counts them with `sawRows`
   * @param leastRows `add` does not judge before this many rows were seen
   */
  constructor(total = 0, leastRows = 0) {
    this.#total = total;
    this.#leastRows = leastRows;
  }

  /** Rows that could not be used so far. */
  get count(): number {
    return this.#reasons.size;
  }

  /** Rows looked at, or that there are. */
  get total(): number {
    return this.#total;
  }

  /** Says how many rows of a stream have been looked at; a second pass sees no new ones. */
  sawRows(count: number): void {
    this.#total = Math.max(this.#total, count);
  }

  /** Place and reason of every skipped row, in the order in which they were met. */
  get rows(): { readonly place: string; readonly reason: string }[] {
    return [...this.#reasons].map(([place, reason]) => ({ place, reason }));
  }

  /**
   * Notes a row that cannot be used. The same place counts once, however often it is met.
   *
   * @throws {DataError} if more than 10 % of the rows are unusable
   */
  add(skipped: RowSkipped): void {
    this.note(skipped);
    this.judge();
  }

  /** Notes a row without checking the limit; for passes that end in `check()`. */
  note(skipped: RowSkipped): void {
    this.#reasons.set(skipped.place, skipped.reason);
  }

  /**
   * @param further rows that were met, but are not noted yet
   * @throws {DataError} if more than 10 % of the rows are unusable
   */
  check(further: readonly RowSkipped[] = []): void {
    const added = new Map(
      further.filter(({ place }) => !this.#reasons.has(place))
        .map(({ place, reason }) => [place, reason]),
    );
    const count = this.count + added.size;
    const { total } = this;
    if (total === 0 || count <= total * MAX_SKIPPED_SHARE) return;
    const rows = [...this.rows, ...[...added].map(([place, reason]) => ({ place, reason }))];
    throw new DataError(
      `Cannot use ${count} of ${total} rows, more than ${MAX_SKIPPED_SHARE * 100} %:\n${
        summariseSkipped(rows, 3)
      }\nCorrect the rows, or drop them in preprocessing_fn with a batch_ function`,
    );
  }

  /**
   * As `check`, if enough rows of a stream have been read.
   *
   * @throws {DataError} if more than 10 % of the rows are unusable
   */
  judge(further: readonly RowSkipped[] = []): void {
    if (this.total >= this.#leastRows) this.check(further);
  }

  /**
   * What was skipped, by reason with examples; empty if nothing was skipped.
   *
   * @param examples how many places to name for each reason
   */
  summary(examples = 3): string {
    return summariseSkipped(this.rows, examples);
  }
}

/** The skipped rows of several data sets as those of one. */
export class JoinedSkippedRows extends SkippedRows {
  readonly #parts: readonly SkippedRows[];

  /** @param parts those of the data sets, which go on counting */
  constructor(parts: readonly SkippedRows[]) {
    super();
    this.#parts = [...new Set(parts)];
  }

  override get count(): number {
    return this.rows.length;
  }

  override get total(): number {
    return this.#parts.reduce((sum, { total }) => sum + total, 0);
  }

  override get rows(): { readonly place: string; readonly reason: string }[] {
    const rows = [...this.#parts.flatMap(({ rows }) => rows), ...super.rows];
    return [...new Map(rows.map((row) => [row.place, row])).values()];
  }
}
