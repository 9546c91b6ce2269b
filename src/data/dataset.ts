import { DataError, RowSkipped } from "./data_error.ts";
import { charactersOf, checkColumns, type ExampleRules, readExample } from "./read_example.ts";
import { type EncodedImage, rowPictures } from "./rows/image_cell.ts";
import type { PlacedRow } from "./rows/row.ts";
import type { RowSource } from "./sources/row_source.ts";
import { SkippedRows } from "./rows/skipped_rows.ts";
import {
  type PictureKeys,
  type PictureKeysOptions,
  readPictureKeys,
} from "./splits/picture_keys.ts";
import { splitGroupPositions, splitPositions, type SplitRule } from "./splits/train_test_split.ts";

/** What is said of a data set. */
export interface DatasetLabels {
  /** For messages; default: the source's name. */
  readonly name?: string;
  /** What a user should know. */
  readonly notes?: readonly string[];
  /** Which part of the rows it has, if not all: `8 of 160 rows (train[:5%])`. */
  readonly selection?: string | null;
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

/**
 * Examples that can be read at random. Rows stay in their files until they are asked for; pictures
 * stay encoded.
 *
 * @example Rows made by code
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { datasetFromRows } from "./load_dataset.ts";
 *
 * const dataset = await datasetFromRows(
 *   [{ texts: [{ user: "What colour?", assistant: "red" }] }],
 *   { format: "vqa" },
 * );
 * assertEquals(dataset.length, 1);
 * assertEquals((await dataset.get(0)).turns[0].assistant, "red");
 * ```
 */
export class Dataset<E extends { readonly images: readonly EncodedImage[] }> {
  /** The source, for messages. */
  readonly name: string;
  /** Column names after renaming and preprocessing. */
  readonly columns: readonly string[];
  /** SHA-256 of the data and of the options applied to it. */
  readonly fingerprint: string;
  /** Skipped rows; parts of a data set share the count. */
  readonly skipped: SkippedRows;
  /** How many rows have pictures, known without reading any; of all parts of a data set. */
  readonly pictures: PictureCount;
  /** What a user should know: which columns hold pictures, which are left out, and why. */
  readonly notes: readonly string[];
  /** Which part of the rows it has, in words; null: all. */
  readonly selection: string | null;
  /** Always false; a `StreamingDataset` says true. */
  readonly streaming = false;
  readonly #source: RowSource;
  readonly #rules: ExampleRules<E>;
  /** Row numbers, and the example within the row, by example. */
  readonly #rows: Uint32Array;
  readonly #parts: Uint16Array;
  /** Characters of each example's texts. */
  readonly #lengths: Uint32Array;
  /** Whether it has all usable rows of the source. */
  readonly #whole: boolean;
  /** the last row read: the turns of a picture are requested one after the other. */
  #last: { readonly row: number; readonly placed: Promise<PlacedRow> } | null = null;

  private constructor(
    from: Opened,
    rules: ExampleRules<E>,
    rows: Uint32Array,
    parts: Uint16Array,
    lengths: Uint32Array,
    fingerprint: string,
    whole: boolean,
  ) {
    this.name = from.name;
    this.columns = from.columns;
    this.skipped = from.skipped;
    this.pictures = from.pictures;
    this.notes = from.notes;
    this.selection = from.selection;
    this.#source = from.source;
    this.#rules = rules;
    this.#rows = rows;
    this.#parts = parts;
    this.#lengths = lengths;
    this.fingerprint = fingerprint;
    this.#whole = whole;
  }

  /**
   * Reads the texts of all rows (not the pictures) and keeps the usable rows.
   *
   * @param source the rows
   * @param rules how they become examples
   * @param fingerprint of the data
   * @param labels name and notes
   * @throws {DataError} if a column is missing, or more than 10 % of the rows cannot be used
   */
  static async open<E extends { readonly images: readonly EncodedImage[] }>(
    source: RowSource,
    rules: ExampleRules<E>,
    fingerprint: string,
    { name = source.name, notes = [], selection = null }: DatasetLabels = {},
  ): Promise<Dataset<E>> {
    checkColumns(source, rules, name);
    const total = await source.countRows();
    const skipped = new SkippedRows(total);
    const pictureColumns = rules.pictureColumns.flat();
    const needed = [...rules.reader.textColumns, ...pictureColumns];
    const columns = source.columns.filter((column) => needed.includes(column));
    let pictures = 0, rowsWithPictures = 0, usable = 0;
    const rows: number[] = [];
    const parts: number[] = [];
    const lengths: number[] = [];
    let row = 0;
    for await (const placed of source.rows(0, total, columns, pictureColumns)) {
      try {
        const { examples, places } = rules.reader.read(placed.row, rules.splitTurns);
        const found = rowPictures(placed.row, rules.pictureColumns, places).length;
        pictures += found;
        if (found > 0) rowsWithPictures++;
        usable++;
        examples.forEach((texts, part) => {
          rows.push(row);
          parts.push(part);
          lengths.push(charactersOf(texts));
        });
      } catch (error) {
        if (!(error instanceof RowSkipped)) throw error;
        skipped.note(error.at(placed.place));
      }
      row++;
    }
    skipped.check();
    if (rows.length === 0) throw new DataError(`Cannot load ${name}: it has no rows`);
    return new Dataset(
      {
        name,
        columns: source.columns,
        skipped,
        source,
        pictures: { rows: rowsWithPictures, of: usable, pictures },
        notes,
        selection,
      },
      rules,
      Uint32Array.from(rows),
      Uint16Array.from(parts),
      Uint32Array.from(lengths),
      fingerprint,
      true,
    );
  }

  /** How many examples there are. Rows whose text cannot be used are not among them. */
  get length(): number {
    return this.#rows.length;
  }

  /**
   * One example.
   *
   * @param index 0 … length − 1
   * @throws {RowSkipped} if its images cannot be read or are too many
   * @throws {RangeError} if there is no such example
   */
  async get(index: number): Promise<E> {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new RangeError(
        `Cannot read example ${index} of ${this.name}: it has ${this.length} examples`,
      );
    }
    return await readExample(await this.#row(index), this.#rules, this.#parts[index]);
  }

  #row(index: number): Promise<PlacedRow> {
    const row = this.#rows[index];
    if (this.#last?.row === row) return this.#last.placed;
    const placed = this.#source.get(row);
    this.#last = { row, placed };
    // A row that could not be read is tried again when it is asked for again.
    placed.catch(() => this.#last?.placed === placed && (this.#last = null));
    return placed;
  }

  /**
   * One example, or null if its row cannot be used; the row is then counted in `skipped`.
   *
   * @throws {DataError} if more than 10 % of the rows cannot be used
   */
  async tryGet(index: number): Promise<E | null> {
    try {
      return await this.get(index);
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      this.skipped.add(error);
      return null;
    }
  }

  /** Number of the row that an example comes from: the same for all turns of a picture. */
  rowOf(index: number): number {
    return this.#rows[index];
  }

  /** Characters of an example's texts, known without reading it: about how long it will be. */
  textLength(index: number): number {
    return this.#lengths[index];
  }

  /** File and line or row of an example, for messages. */
  async place(index: number): Promise<string> {
    return (await this.#row(index)).place;
  }

  /** All examples that can be used, in order. */
  async *[Symbol.asyncIterator](): AsyncGenerator<E> {
    for (let i = 0; i < this.length; i++) {
      const example = await this.tryGet(i);
      if (example !== null) yield example;
    }
  }

  /** The examples of those numbers, in that order. */
  select(indices: Iterable<number>): Dataset<E> {
    const wanted = [...indices];
    for (const index of wanted) {
      if (!Number.isInteger(index) || index < 0 || index >= this.length) {
        throw new RangeError(
          `Cannot select example ${index} of ${this.name}: it has ${this.length} examples`,
        );
      }
    }
    return new Dataset(
      {
        name: this.name,
        columns: this.columns,
        skipped: this.skipped,
        source: this.#source,
        pictures: this.pictures,
        notes: this.notes,
        selection: this.selection,
      },
      this.#rules,
      Uint32Array.from(wanted, (i) => this.#rows[i]),
      Uint16Array.from(wanted, (i) => this.#parts[i]),
      Uint32Array.from(wanted, (i) => this.#lengths[i]),
      this.fingerprint,
      false,
    );
  }

  /**
   * What the rows show: a key for each picture, by the bytes of its file.
   *
   * @param options the most bytes to read
   */
  async pictureKeys(options: PictureKeysOptions = {}): Promise<PictureKeys> {
    return await readPictureKeys(
      this.#source,
      this.#rules,
      { ...options, rows: new Set(this.#rows), total: this.skipped.total },
    );
  }

  /**
   * Two parts that share no row: with `splitTurns` all turns of a picture stay on one side. The
   * parts are those of `datasets`' `train_test_split(test_size=testShare, seed=seed)` on the rows
   * of the file, in its order; unusable rows are left out afterwards.
   *
   * @param testShare between 0 and 1
   * @param seed decides which rows
   * @param rule `legacy`: the rows and the order of runs that began with the earlier rule
   * @param groups number of the group of each row of the file; rows of a group stay on one side
   *   ({@linkcode splitGroupPositions}). null: each row is on its own
   * @throws {DataError} if one part would be empty
   */
  split(
    testShare: number,
    seed: number,
    rule: SplitRule = "datasets",
    groups: ArrayLike<number> | null = null,
  ): { train: Dataset<E>; test: Dataset<E> } {
    const used = [...new Set(this.#rows)];
    // Unusable rows take part in the draw, as they do in `datasets`, if this is the whole data set.
    const rows = this.#whole && rule === "datasets" ? [...Array(this.skipped.total).keys()] : used;
    const examples = new Map<number, number[]>(used.map((row) => [row, []]));
    this.#rows.forEach((row, example) => examples.get(row)!.push(example));
    const part = (positions: Iterable<number>) =>
      [...positions].flatMap((position) => examples.get(rows[position]) ?? []);
    const { train, test } = groups === null
      ? splitPositions(rows.length, testShare, seed, rule)
      : splitGroupPositions(rows.map((row) => groups[row]), testShare, seed);
    const [trainExamples, testExamples] = [part(train), part(test)];
    if (trainExamples.length === 0 || testExamples.length === 0) {
      throw new DataError(
        `Cannot split ${this.name} into ${1 - testShare} and ${testShare}: ${used.length} rows ` +
          (groups === null ? "are too few" : "show too few pictures") + "; give eval_data_path",
      );
    }
    return { train: this.select(trainExamples), test: this.select(testExamples) };
  }
}

/** A data set's source, and what was learnt when it was opened. */
interface Opened {
  readonly name: string;
  readonly columns: readonly string[];
  readonly skipped: SkippedRows;
  readonly source: RowSource;
  readonly pictures: PictureCount;
  readonly notes: readonly string[];
  readonly selection: string | null;
}
