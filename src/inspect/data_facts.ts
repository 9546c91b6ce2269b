/**
 * What `init` needs to know of a data set to write a config for it.
 *
 * @module
 */
import { DataError } from "../data/data_error.ts";
import { type AnyDataset, loadDataset } from "../data/load_dataset.ts";
import type { EncodedImage } from "../data/rows/image_cell.ts";
import {
  type DatasetFormat,
  type ExampleOf,
  formatReader,
  type GrpoExample,
  type PreferenceExample,
  type VqaExample,
} from "../data/rows/formats.ts";
import { findDataFiles } from "../data/sources/find_data_files.ts";
import { type DataFiles, openSplit } from "../data/sources/open_source.ts";
import { readImageHeader } from "../image/image_header.ts";
import { embeddedTokenizerFiles } from "../text/embedded_tokenizer.ts";
import { Tokenizer } from "../text/tokenizer.ts";

/** The format that a data set is read in, and the columns that must be renamed for it. */
export interface RecognisedFormat {
  readonly format: DatasetFormat;
  /** New names by old ones. */
  readonly renames: Readonly<Record<string, string>>;
}

/** The parts of a data set. */
export interface FoundSplits {
  readonly train: string;
  /** To evaluate on; null: a part of the training rows is held out. */
  readonly evaluation: string | null;
}

/** What a config is written from. */
export interface DataFacts extends RecognisedFormat, FoundSplits {
  /** The path or Hub id, as it was given. */
  readonly data: string;
  readonly columns: readonly string[];
  /** Usable rows of the training split. */
  readonly rows: number;
  /** Examples: questions, pairs or prompts. */
  readonly examples: number;
  readonly rowsWithPictures: number;
  /** Most pictures of a row, of those that were looked at. */
  readonly mostPictures: number;
  /** Median of the longer sides of pictures, in pixels; null: there are none. */
  readonly pictureSide: number | null;
  /** Tokens of the longest example's texts under the built-in tokenizer. */
  readonly longestTokens: number;
  /** Median words of an answer; null: there are none. */
  readonly answerWords: number | null;
  /** Rows that cannot be used: a line for each reason; empty: none. */
  readonly skipped: string;
  readonly skippedRows: number;
  readonly notes: readonly string[];
  /** A question of the data, and the file of its picture if it has a path. */
  readonly example: { readonly question: string; readonly picture: string | null };
}

/** Examples whose texts and pictures are read. */
const SAMPLED = 300;

/** In this order, since preference rows may have the columns of the others too. */
const FORMATS: readonly DatasetFormat[] = ["preference", "vqa", "grpo"];

/** Usual names of a question and of its answer, for columns that no format knows. */
const QUESTIONS = ["question", "problem", "query", "prompt", "instruction", "input", "user"];
const ANSWERS = ["answer", "solution", "label", "target", "caption", "ground_truth", "output"];

/** @returns the format of the columns as they are, or with two of them renamed; null: none */
export function recogniseFormat(columns: readonly string[]): RecognisedFormat | null {
  const suits = (format: DatasetFormat, names: readonly string[]) => {
    try {
      formatReader(format).checkColumns(names, "");
      return true;
    } catch (error) {
      if (error instanceof DataError) return false;
      throw error;
    }
  };
  for (const format of FORMATS) if (suits(format, columns)) return { format, renames: {} };
  const find = (names: readonly string[]) =>
    names.map((name) => columns.find((column) => column.toLowerCase() === name))
      .find((column) => column !== undefined);
  const question = find(QUESTIONS), answer = find(ANSWERS);
  if (question === undefined || answer === undefined || question === answer) return null;
  const renames: Record<string, string> = {};
  if (question !== "question") renames[question] = "question";
  if (answer !== "answer") renames[answer] = "answer";
  return { format: "vqa", renames };
}

/** The splits to train and to evaluate on; a file alone, or one split, is for training. */
export function chooseSplits({ splits }: Pick<DataFiles, "splits">): FoundSplits {
  const differs = (a: string, b: string) => splits.get(a)?.join("\n") !== splits.get(b)?.join("\n");
  const names = [...splits.keys()];
  const train = names.includes("train") ? "train" : names[0];
  const wanted = ["validation", "valid", "val", "dev", "eval", "test"];
  const evaluation = wanted.find((name) => names.includes(name) && differs(name, train)) ?? null;
  return { train, evaluation };
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[sorted.length >> 1];
}

/** The texts of an example: what is asked, and the answers. */
function textsOf<F extends DatasetFormat>(
  format: F,
  example: ExampleOf<F>,
): { readonly questions: string[]; readonly answers: string[] } {
  switch (format) {
    case "vqa": {
      const { turns } = example as VqaExample;
      return {
        questions: turns.map(({ user }) => user),
        answers: turns.map(({ assistant }) => assistant),
      };
    }
    case "preference": {
      const { prompt, chosen, rejected } = example as PreferenceExample;
      return { questions: prompt.map(({ content }) => content), answers: [chosen, rejected] };
    }
    default: {
      const { prompt, columns } = example as GrpoExample;
      const answer = columns.answer ?? columns.solution;
      const answers = typeof answer === "string" || typeof answer === "number" ? [answer] : [];
      return { questions: prompt.map(({ content }) => content), answers: answers.map(String) };
    }
  }
}

function sideOf({ bytes }: EncodedImage): number | null {
  try {
    const { width, height } = readImageHeader(bytes);
    return Math.max(width, height);
  } catch {
    return null; // training tells of pictures that cannot be read
  }
}

/** What was asked for instead of what is found. */
export interface DataFactsOptions {
  readonly format?: DatasetFormat;
  readonly split?: string;
}

/**
 * Looks at a data set.
 *
 * @param data a file, a folder or a Hub id
 * @throws {DataError} if it is missing, corrupt, or its columns are those of no format
 */
export async function dataFacts(data: string, options: DataFactsOptions = {}): Promise<DataFacts> {
  const files = await findDataFiles(data);
  const found = chooseSplits(files);
  const splits = options.split === undefined ? found : { train: options.split, evaluation: null };
  const { source } = await openSplit(files, splits.train);
  const recognised = options.format === undefined
    ? recogniseFormat(source.columns)
    : { format: options.format, renames: {} };
  if (recognised === null) {
    throw new DataError(
      `Cannot tell what ${data} is for: its columns are ${source.columns.join(", ")}; want ` +
        "question and answer (SFT), prompt, chosen and rejected (DPO), or prompt (GRPO); rename " +
        "them in the file, or with dataset.rename_columns (docs/formats.md lists every form)",
    );
  }
  const dataset: AnyDataset<DatasetFormat> = await loadDataset({
    path: data,
    format: recognised.format,
    split: splits.train,
    renameColumns: recognised.renames,
    splitTurns: recognised.format === "vqa",
    streaming: false,
  });
  if (dataset.streaming) throw new DataError(`Cannot look at ${data}: it is a stream`);
  const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles());
  const rows = new Set<number>(), sides: number[] = [], words: number[] = [];
  let mostPictures = 0, longest = 0, longestCharacters = 0, characters = 0, tokens = 0;
  let example: DataFacts["example"] | null = null;
  for (let i = 0; i < dataset.length; i++) {
    rows.add(dataset.rowOf(i));
    longestCharacters = Math.max(longestCharacters, dataset.textLength(i));
    if (i >= SAMPLED) continue;
    const read = await dataset.tryGet(i);
    if (read === null) continue;
    const { questions, answers } = textsOf(recognised.format, read);
    const text = [...questions, ...answers].join("\n");
    const length = tokenizer.encode(text).length;
    characters += text.length;
    tokens += length;
    longest = Math.max(longest, length);
    words.push(...answers.map((answer) => answer.trim().split(/\s+/).length));
    mostPictures = Math.max(mostPictures, read.images.length);
    sides.push(...read.images.map(sideOf).filter((side) => side !== null));
    example ??= {
      question: questions.at(-1) ?? "",
      picture: await pictureFile(data, read.images[0]?.name),
    };
  }
  if (example === null) {
    throw new DataError(
      `Cannot use ${data}: none of its first ${SAMPLED} examples can be read\n` +
        dataset.skipped.summary(),
    );
  }
  // Texts that were not read count as long as their characters tell.
  const unread = longestCharacters * tokens / Math.max(1, characters);
  return {
    data,
    ...recognised,
    ...splits,
    columns: source.columns,
    rows: rows.size,
    examples: dataset.length,
    rowsWithPictures: dataset.pictures.rows,
    mostPictures,
    pictureSide: median(sides),
    longestTokens: Math.ceil(Math.max(longest, unread)),
    answerWords: median(words),
    skipped: dataset.skipped.summary(),
    skippedRows: dataset.skipped.rows.length,
    notes: dataset.notes,
    example,
  };
}

/** The path of a picture from here, if it is a file. */
async function pictureFile(data: string, name: string | undefined): Promise<string | null> {
  if (name === undefined) return null;
  const folder = data.replace(/[/\\]?[^/\\]*\.[^/\\.]+$/, "");
  for (const path of [name, `${data}/${name}`, folder === "" ? name : `${folder}/${name}`]) {
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  return null;
}
