import { RandomStream } from "../random.ts";
import { DataError, RowSkipped } from "./data_error.ts";
import type { DatasetLabels, MixtureLabels, NamedSet, PictureCount } from "./dataset_parts.ts";
import { type InterleaveOptions, Interleaver } from "./mixture/interleave.ts";
import { checkColumns, type ExampleRules, readExample } from "./read_example.ts";
import type { EncodedImage } from "./rows/image_cell.ts";
import type { RowSource } from "./sources/row_source.ts";
import { pictureDraw } from "./splits/picture_keys.ts";
import type { SplitRule } from "./splits/train_test_split.ts";
import { SkippedRows } from "./rows/skipped_rows.ts";

/** Streams stop for unusable rows only after this many were looked at. */
const LEAST_ROWS = 100;

/** How to walk through a stream. */
export interface StreamOptions {
  /** Seed of the shuffle; without it the order is the file's. */
  readonly shuffleSeed?: number;
  /** Which pass it is: another epoch is another order. */
  readonly epoch?: number;
  /** Examples that are mixed with each other. */
  readonly bufferExamples?: number;
  /** The most image bytes that wait in the buffer. */
  readonly bufferBytes?: number;
  /** Examples to leave out at the start of the pass: a resumed run continues there. */
  readonly skip?: number;
}

/** Which share of the rows a part of a stream takes. */
interface Share {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  /** Place a row by its first picture rather than by a number drawn for it. */
  readonly byPicture: boolean;
}

/**
 * Examples that are read from start to end in constant memory, shuffled within a buffer.
 *
 * The order depends on seed and epoch alone, so that `skip` continues exactly where a run stopped.
 */
export class StreamingDataset<E extends { readonly images: readonly EncodedImage[] }> {
  /** The source, for messages. */
  readonly name: string;
  /** Column names after renaming and preprocessing. */
  readonly columns: readonly string[];
  /** SHA-256 of the data and of the options applied to it. */
  readonly fingerprint: string;
  /** Rows that could not be used so far. */
  readonly skipped: SkippedRows;
  /** Not known before the rows were read. */
  readonly pictures: PictureCount | null = null;
  /** What a user should know: which columns hold pictures, which are left out, and why. */
  readonly notes: readonly string[];
  /** Which part of the rows it has, in words; null: all. */
  readonly selection: string | null;
  /** Always true; a `Dataset` says false. */
  readonly streaming = true;
  /** Not known before the end. */
  readonly length = null;
  readonly #source: RowSource;
  readonly #rules: ExampleRules<E>;
  readonly #share: Share | null;
  /** The sets of a mixture; empty: it is none. */
  #sets: readonly NamedSet<StreamingDataset<E>>[] = [];
  /** How they are mixed; null: one after the other. */
  #interleave: InterleaveOptions | null = null;

  /**
   * @param source the rows
   * @param rules how they become examples
   * @param fingerprint of the data
   * @param labels name and notes
   * @param share the part of the rows that this part of a split takes
   * @throws {DataError} if a column is missing
   */
  constructor(
    source: RowSource,
    rules: ExampleRules<E>,
    fingerprint: string,
    {
      name = source.name,
      notes = [],
      selection = null,
      skipped = new SkippedRows(0, LEAST_ROWS),
    }: DatasetLabels = {},
    share: Share | null = null,
  ) {
    checkColumns(source, rules, name);
    this.skipped = skipped;
    this.notes = notes;
    this.name = name;
    this.selection = selection;
    this.columns = source.columns;
    this.fingerprint = fingerprint;
    this.#source = source;
    this.#rules = rules;
    this.#share = share;
  }

  /**
   * Several streams as one. Each set is read in its own order; one that begins again is read again.
   *
   * @param sets no mixtures themselves
   * @param interleave how rows are drawn; null: one set after the other
   * @param labels name, fingerprint, and what counts the skipped rows
   */
  static mix<E extends { readonly images: readonly EncodedImage[] }>(
    sets: readonly NamedSet<StreamingDataset<E>>[],
    interleave: InterleaveOptions | null,
    labels: MixtureLabels,
  ): StreamingDataset<E> {
    const [{ dataset: first }] = sets;
    const mixed = new StreamingDataset(first.#source, first.#rules, labels.fingerprint, {
      name: labels.name,
      skipped: labels.skipped,
      notes: sets.flatMap(({ name, dataset }) => dataset.notes.map((note) => `${name}: ${note}`)),
    });
    mixed.#sets = sets;
    mixed.#interleave = interleave;
    return mixed;
  }

  /** The sets of a mixture; empty: it is none. */
  get sets(): readonly NamedSet<StreamingDataset<E>>[] {
    return this.#sets;
  }

  /**
   * Two parts that share no row: each row falls to one by a number drawn for it, so that about
   * `testShare` of them are the test part. (The rule of `datasets` needs the number of rows.)
   *
   * @param testShare between 0 and 1
   * @param seed decides which rows
   * @param _rule of no effect
   * @param byPicture the number is that of the row's first picture, so that rows with the same one
   *   are in the same part; pictures that rows name by paths are the same if the paths are
   */
  split(
    testShare: number,
    seed: number,
    _rule?: SplitRule,
    byPicture = false,
  ): { train: StreamingDataset<E>; test: StreamingDataset<E> } {
    const part = (from: number, to: number) =>
      new StreamingDataset(
        this.#source,
        this.#rules,
        this.fingerprint,
        { name: this.name, notes: this.notes, selection: this.selection },
        { seed, from, to, byPicture },
      );
    return { train: part(testShare, 1), test: part(0, testShare) };
  }

  /** One pass in the order of the file. */
  [Symbol.asyncIterator](): AsyncGenerator<E> {
    return this.iterate();
  }

  /**
   * One pass.
   *
   * @throws {DataError} if more than 10 % of the rows cannot be used
   */
  async *iterate(options: StreamOptions = {}): AsyncGenerator<E> {
    const { shuffleSeed, epoch = 0, skip = 0 } = options;
    const examples = shuffleSeed === undefined
      ? this.#examples()
      : shuffled(this.#examples(), new RandomStream(shuffleSeed, `stream ${epoch}`), options);
    let left = skip;
    for await (const example of examples) {
      if (left > 0) left--;
      else yield example;
    }
  }

  async *#examples(): AsyncGenerator<E> {
    if (this.#interleave !== null) {
      yield* this.#interleaved(new Interleaver(this.#interleave, this.#sets.length));
      return;
    }
    for (const { dataset } of this.#sets) yield* dataset.#examples();
    if (this.#sets.length > 0) return;
    for await (const examples of this.#rows()) yield* examples;
  }

  /** The examples of the sets, row by row. A set's last row is known once it is taken. */
  async *#interleaved(interleaver: Interleaver): AsyncGenerator<E> {
    const open = this.#sets.map(({ dataset }) => dataset.#rows());
    const next = await Promise.all(open.map((rows) => rows.next()));
    try {
      for (let set = interleaver.next(); set !== null; set = interleaver.next()) {
        const { value, done } = next[set];
        if (done) return; // a set without any row has thrown before
        yield* value;
        next[set] = await open[set].next();
        if (!next[set].done) continue;
        interleaver.exhaust(set);
        open[set] = this.#sets[set].dataset.#rows();
        next[set] = await open[set].next();
      }
    } finally {
      for (const rows of open) await rows.return(undefined);
    }
  }

  /** The usable examples of each row; rows without any are left out. */
  async *#rows(): AsyncGenerator<readonly E[]> {
    const draw = this.#share && new RandomStream(this.#share.seed, "split");
    let rows = 0;
    let given = 0;
    for await (const placed of this.#source.rows(0, Infinity)) {
      if (draw !== null && this.#share !== null) {
        const drawn = draw.nextFloat();
        const { seed, byPicture } = this.#share;
        const where = (byPicture ? pictureDraw(placed.row, this.#rules, seed) : null) ?? drawn;
        if (where < this.#share.from || where >= this.#share.to) continue;
      }
      this.skipped.sawRows(++rows);
      const examples: E[] = [];
      let parts = 1;
      for (let part = 0; part < parts; part++) {
        try {
          if (part === 0) {
            parts = this.#rules.reader.read(placed.row, this.#rules.splitTurns).examples.length;
            if (parts === 0) break; // all of it is left out on purpose
          }
          examples.push(await readExample(placed, this.#rules, part));
        } catch (error) {
          if (!(error instanceof RowSkipped)) throw error;
          this.skipped.add(error.at(placed.place));
          break;
        }
      }
      given += examples.length;
      if (examples.length > 0) yield examples;
    }
    this.skipped.check();
    if (given === 0) {
      throw new DataError(`Cannot read ${this.name}: it has no rows that can be used`);
    }
  }
}

/** Gives the items in random order within a buffer that is kept full. */
async function* shuffled<E extends { readonly images: readonly EncodedImage[] }>(
  examples: AsyncIterable<E>,
  random: RandomStream,
  { bufferExamples = 1000, bufferBytes = 256 * 2 ** 20 }: StreamOptions,
): AsyncGenerator<E> {
  const buffer: E[] = [];
  let bytes = 0;
  const weight = (example: E) => example.images.reduce((sum, image) => sum + image.bytes.length, 0);
  const take = (): E => {
    const index = random.nextInt(buffer.length);
    const example = buffer[index];
    buffer[index] = buffer[buffer.length - 1];
    buffer.pop();
    bytes -= weight(example);
    return example;
  };
  for await (const example of examples) {
    buffer.push(example);
    bytes += weight(example);
    while (buffer.length > bufferExamples || (bytes > bufferBytes && buffer.length > 1)) {
      yield take();
    }
  }
  while (buffer.length > 0) yield take();
}
