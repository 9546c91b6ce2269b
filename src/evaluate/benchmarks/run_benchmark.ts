/**
 * Asks a model the questions of a benchmark and scores its answers.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import { columnPictures, readImages } from "../../data/rows/image_cell.ts";
import { type PlacedRow, scalarText } from "../../data/rows/row.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { PromptImage, TextPrompt } from "../../generate/generate_text.ts";
import { answerQuestions } from "../answer_questions.ts";
import { chatBuilder, processImages } from "../question_rows.ts";
import type { Benchmark } from "./benchmark.ts";
import type { BenchmarkRows } from "./benchmark_rows.ts";
import { pictureColumnsOf, promptOf } from "./prompt.ts";
import type { ResultsLine, SkippedLine } from "./results_file.ts";
import { rowAnswers, scoreRow } from "./score_row.ts";

/** How to ask. */
export interface RunBenchmarkOptions {
  /** Questions that are answered side by side; 16 by default. */
  readonly batchSize?: number;
  /** Longest answer, tokens; default: the benchmark's. */
  readonly maxNewTokens?: number;
  /** Rows that were measured already. */
  readonly done: ReadonlySet<number>;
  /** Called with each answer, in the order of the rows. */
  readonly onLine: (line: ResultsLine | SkippedLine) => void;
  /** Ends it between two tokens; answers that were cut are not given to `onLine`. */
  readonly signal?: AbortSignal;
}

/** A question that is ready to be answered. */
interface Asked extends TextPrompt {
  readonly index: number;
  readonly placed: PlacedRow;
  readonly prompt: string;
}

/** Pictures that are held at once, 256 MiB of tiles. */
const WINDOW_BYTES = 256 * 2 ** 20;
/** Batches that are answered before their lines are written, so that rows of like length meet. */
const WINDOW_BATCHES = 2;

/**
 * Asks every row that is not done.
 *
 * @param loaded the model with its tokenizer and image processor
 * @throws {DataError} if a data file is corrupt
 */
export async function runBenchmark(
  loaded: LoadedModel,
  benchmark: Benchmark,
  rows: BenchmarkRows,
  options: RunBenchmarkOptions,
): Promise<void> {
  const { batchSize = 16, maxNewTokens = benchmark.maxNewTokens, done, onLine, signal } = options;
  const builder = chatBuilder(loaded);
  const { columns } = benchmark;

  const ask = async (placed: PlacedRow, index: number): Promise<Asked> => {
    const prompt = promptOf(benchmark, placed.row);
    rowAnswers(benchmark, placed.row); // a row without an answer is not asked
    const cells = pictureColumnsOf(benchmark, placed.row)
      .flatMap((column) => columnPictures(placed.row, [[column]]));
    const encoded = await readImages(cells, placed.folder, Infinity);
    const images = await processImages(loaded.imageProcessor, builder, encoded);
    return { index, placed, prompt, images, messages: [{ role: "user", content: prompt }] };
  };
  const lineOf = ({ index, placed: { row }, prompt }: Asked, answer: string): ResultsLine => {
    const text = (column: string | undefined) =>
      column === undefined ? null : scalarText(row[column]);
    return {
      index,
      question: prompt,
      answers: rowAnswers(benchmark, row),
      answer,
      score: scoreRow(benchmark, row, answer),
      group: text(columns.group),
      subgroup: text(columns.subgroup),
    };
  };

  let window: (Asked | SkippedLine)[] = [], bytes = 0;
  const flush = async () => {
    const asked = window.filter((entry) => "placed" in entry);
    const answers = await answerQuestions(loaded.model, loaded.tokenizer, asked, {
      batchSize,
      maxNewTokens,
      signal,
    });
    if (signal?.aborted) return;
    let next = 0;
    for (const entry of window) onLine("placed" in entry ? lineOf(entry, answers[next++]) : entry);
    window = [];
    bytes = 0;
  };
  let index = 0;
  while (done.has(index)) index++;
  for await (const placed of rows.source.rows(index, rows.count)) {
    if (signal?.aborted) return;
    const at = index++;
    if (done.has(at)) continue;
    try {
      const asked = await ask(placed, at);
      window.push(asked);
      bytes += tileBytes(asked.images ?? []);
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      window.push({ index: at, skipped: error.message });
    }
    if (window.length >= WINDOW_BATCHES * batchSize || bytes >= WINDOW_BYTES) await flush();
  }
  if (!signal?.aborted) await flush();
}

function tileBytes(images: readonly PromptImage[]): number {
  return images.reduce((sum, { tiles }) => sum + tiles.byteLength, 0);
}
