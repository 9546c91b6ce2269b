/**
 * What a data set is made of, beside its examples.
 *
 * @module
 */
import type { ExampleRules } from "./read_example.ts";
import type { RowSource } from "./sources/row_source.ts";
import type { SkippedRows } from "./rows/skipped_rows.ts";

/** What is said of a data set. */
export interface DatasetLabels {
  /** For messages; default: the source's name. */
  readonly name?: string;
  /** What a user should know. */
  readonly notes?: readonly string[];
  /** Which part of the rows it has, if not all: `8 of 160 rows (train[:5%])`. */
  readonly selection?: string | null;
  /** Counts the rows of a stream that cannot be used; default: a new one. */
  readonly skipped?: SkippedRows;
}

/** What is said of a mixture. */
export interface MixtureLabels {
  readonly name: string;
  readonly fingerprint: string;
  /** Counts the rows of all sets that cannot be used. */
  readonly skipped: SkippedRows;
}

/** A data set of a mixture. */
export interface NamedSet<D> {
  /** In messages, and in metrics: `eval_NAME_loss`. */
  readonly name: string;
  readonly dataset: D;
}

/** Rows of one source. */
export interface SourceRows<E> {
  readonly source: RowSource;
  readonly rules: ExampleRules<E>;
  /** Number of its first row in the data set. */
  readonly from: number;
  readonly to: number;
}

/** How many rows of a data set have pictures. */
export interface PictureCount {
  /** Rows with at least one picture. */
  readonly rows: number;
  /** Usable rows. */
  readonly of: number;
  /** Pictures of all of them. */
  readonly pictures: number;
}

/** A data set's source, and what was learnt when it was opened. */
export interface Opened<E> {
  readonly name: string;
  readonly columns: readonly string[];
  readonly skipped: SkippedRows;
  readonly sources: readonly SourceRows<E>[];
  readonly setNames?: readonly string[];
  readonly pictures: PictureCount;
  readonly notes: readonly string[];
  readonly selection: string | null;
}
