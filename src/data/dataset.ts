import { DataError, RowSkipped } from "./data_error.ts";
import type { InterleavePlan } from "./mixture/interleave.ts";
import { charactersOf, checkColumns, type ExampleRules, readExample } from "./read_example.ts";
import type {
  DatasetLabels,
  MixtureLabels,
  NamedSet,
  Opened,
  PictureCount,
  SourceRows,
} from "./dataset_parts.ts";
import { type EncodedImage, rowPictures } from "./rows/image_cell.ts";
import type { TextOf } from "./rows/formats.ts";
import type { PlacedRow } from "./rows/row.ts";
import type { RowSource } from "./sources/row_source.ts";
import { SkippedRows } from "./rows/skipped_rows.ts";
import {
  type PictureKeys,
  type PictureKeysOptions,
  readPictureKeys,
} from "./splits/picture_keys.ts";
import { splitGroupPositions, splitPositions, type SplitRule } from "./splits/train_test_split.ts";

export type { DatasetLabels, NamedSet, PictureCount } from "./dataset_parts.ts";

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
  /** The sources, one behind the other. A row that a mixture repeats has a number above them all. */
  readonly #sources: readonly SourceRows<E>[];
  /** Names of the sets of a mixture, by the source; empty: it is none. */
  readonly #setNames: readonly string[];
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
    from: Opened<E>,
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
    this.#sources = from.sources;
    this.#setNames = from.setNames ?? [];
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
    let pictures = 0, rowsWithPictures = 0, usable = 0, leftOutTurns = 0, leftOutRows = 0;
    const rows: number[] = [];
    const parts: number[] = [];
    const lengths: number[] = [];
    let row = 0;
    for await (const placed of source.rows(0, total, columns, pictureColumns)) {
      try {
        const read = rules.reader.read(placed.row, rules.splitTurns);
        const { examples, places, leftOut = 0 } = read;
        leftOutTurns += leftOut;
        if (examples.length === 0 && leftOut > 0) {
          leftOutRows++;
          row++;
          continue;
        }
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
    const ratingNotes = leftOutTurns === 0 ? [] : [
      `${leftOutTurns} turns are left out by their ratings, ${leftOutRows} rows whole`,
    ];
    if (rows.length === 0) {
      const why = leftOutRows > 0 ? `; ${ratingNotes[0]}: lower the least ratings` : "";
      throw new DataError(`Cannot load ${name}: it has no rows${why}`);
    }
    return new Dataset(
      {
        name,
        columns: source.columns,
        skipped,
        sources: [{ source, rules, from: 0, to: total }],
        pictures: { rows: rowsWithPictures, of: usable, pictures },
        notes: [...notes, ...ratingNotes],
        selection,
      },
      Uint32Array.from(rows),
      Uint16Array.from(parts),
      Uint32Array.from(lengths),
      fingerprint,
      true,
    );
  }

  /**
   * Several data sets as one, their rows in the order of a plan.
   *
   * @param sets no mixtures themselves
   * @param plan for the rows of the sets, each in the order of its set; a row brings all its examples
   * @param labels name, fingerprint, and what counts the skipped rows
   */
  static mix<E extends { readonly images: readonly EncodedImage[] }>(
    sets: readonly NamedSet<Dataset<E>>[],
    plan: InterleavePlan,
    labels: MixtureLabels,
  ): Dataset<E> {
    let to = 0;
    const sources = sets.map(({ dataset }) => {
      const [{ source, rules, to: rows }] = dataset.#sources;
      return { source, rules, from: to, to: to += rows };
    });
    const rowsOf = sets.map(({ dataset }) => dataset.#examplesByRow());
    const rows: number[] = [], parts: number[] = [], lengths: number[] = [];
    plan.sets.forEach((set, i) => {
      const { dataset } = sets[set];
      const draw = plan.draws[i], own = rowsOf[set];
      const pass = Math.floor(draw / own.length);
      for (const example of own[draw % own.length]) {
        rows.push(dataset.#rows[example] + sources[set].from + pass * to);
        parts.push(dataset.#parts[example]);
        lengths.push(dataset.#lengths[example]);
      }
    });
    const sum = (of: (pictures: PictureCount) => number) =>
      sets.reduce((total, { dataset }) => total + of(dataset.pictures), 0);
    return new Dataset(
      {
        name: labels.name,
        columns: [...new Set(sets.flatMap(({ dataset }) => dataset.columns))],
        skipped: labels.skipped,
        sources,
        setNames: sets.map(({ name }) => name),
        pictures: {
          rows: sum(({ rows }) => rows),
          of: sum(({ of }) => of),
          pictures: sum(({ pictures }) => pictures),
        },
        notes: sets.flatMap(({ name, dataset }) => dataset.notes.map((note) => `${name}: ${note}`)),
        selection: null,
      },
      Uint32Array.from(rows),
      Uint16Array.from(parts),
      Uint32Array.from(lengths),
      labels.fingerprint,
      false,
    );
  }

  /** How many rows examples come from. */
  get rowCount(): number {
    return this.#examplesByRow().length;
  }

  /** Numbers of the examples of each row, rows in the order of their first example. */
  #examplesByRow(): number[][] {
    const byRow = new Map<number, number[]>();
    this.#rows.forEach((row, example) => {
      const known = byRow.get(row);
      if (known) known.push(example);
      else byRow.set(row, [example]);
    });
    return [...byRow.values()];
  }

  /** The set of a mixture that an example comes from; null: it is no mixture. */
  setOf(index: number): string | null {
    return this.#setNames[this.#sourceOf(this.#rows[index]).number] ?? null;
  }

  /** The sets of a mixture that it has examples of, each as a data set; empty: it is no mixture. */
  get sets(): NamedSet<Dataset<E>>[] {
    const bySet = new Map<string, number[]>(this.#setNames.map((name) => [name, []]));
    for (let i = 0; i < this.length; i++) bySet.get(this.setOf(i) ?? "")?.push(i);
    return [...bySet].filter(([, examples]) => examples.length > 0)
      .map(([name, examples]) => ({ name, dataset: this.select(examples) }));
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
    const { rules } = this.#sourceOf(this.#rows[index]).at;
    return await readExample(await this.#row(index), rules, this.#parts[index]);
  }

  /** The texts of all examples, in order; no picture is read. */
  async *texts(): AsyncGenerator<TextOf<E>> {
    for (let i = 0; i < this.length; i++) {
      const { rules } = this.#sourceOf(this.#rows[i]).at;
      const { row } = await this.#row(i);
      yield rules.reader.read(row, rules.splitTurns).examples[this.#parts[i]];
    }
  }

  /** Where a row stands. */
  #sourceOf(row: number): { at: SourceRows<E>; number: number; row: number } {
    const rows = row % this.#sources[this.#sources.length - 1].to;
    const number = this.#sources.findIndex(({ to }) => rows < to);
    const at = this.#sources[number];
    return { at, number, row: rows - at.from };
  }

  #row(index: number): Promise<PlacedRow> {
    const row = this.#rows[index];
    if (this.#last?.row === row) return this.#last.placed;
    const { at, row: inSource } = this.#sourceOf(row);
    const placed = at.source.get(inSource);
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
        sources: this.#sources,
        setNames: this.#setNames,
        pictures: this.pictures,
        notes: this.notes,
        selection: this.selection,
      },
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
   * @throws {RangeError} if it is a mixture
   */
  async pictureKeys(options: PictureKeysOptions = {}): Promise<PictureKeys> {
    const [{ source, rules }, ...others] = this.#sources;
    if (others.length > 0) {
      throw new RangeError(`Cannot compare the pictures of ${this.name}: it is a mixture`);
    }
    return await readPictureKeys(
      source,
      rules,
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
