/**
 * The file of a benchmark's answers: a line that says what was measured, then a line a question,
 * written as answers come, so that the same command goes on where it was stopped.
 *
 * @module
 */

/** What a results file is about; two files can be compared if all but the model is the same. */
export interface ResultsHeader {
  readonly benchmark: string;
  /** As the command line named it. */
  readonly model: string;
  readonly adapter: string | null;
  /** SHA-256 of the files of model and adapter. */
  readonly weights: string;
  /** Where the rows are from. */
  readonly data: string;
  /** SHA-256 of the data files and the split. */
  readonly fingerprint: string;
  readonly config: string | null;
  readonly split: string;
  /** Questions that are to be asked. */
  readonly questions: number;
  /** Longest answer, tokens. */
  readonly max_new_tokens: number;
  /** Whose definition of the benchmark it is. */
  readonly reference: string;
}

/** A question that was answered and scored. */
export interface ResultsLine {
  /** Row of the split, from 0. */
  readonly index: number;
  readonly question: string;
  readonly answers: readonly string[];
  readonly answer: string;
  readonly score: number;
  readonly group: string | null;
  readonly subgroup: string | null;
}

/** A row that could not be asked. */
export interface SkippedLine {
  readonly index: number;
  readonly skipped: string;
}

/** What a results file holds. */
export interface Results {
  readonly path: string;
  readonly header: ResultsHeader;
  readonly lines: readonly ResultsLine[];
  readonly skipped: readonly SkippedLine[];
}

/** A file that is not what it should be, or was made by another measurement. */
export class ResultsError extends Error {
  override readonly name = "ResultsError";
}

/** Keys of the header that two parts of one measurement must share. */
const SAME: readonly (keyof ResultsHeader)[] = [
  "benchmark",
  "weights",
  "fingerprint",
  "config",
  "split",
  "questions",
  "max_new_tokens",
  "reference",
];

const shown = (header: ResultsHeader, key: keyof ResultsHeader): string => {
  if (key === "weights") return `${header.model}${header.adapter ? ` + ${header.adapter}` : ""}`;
  if (key === "fingerprint") return `the data ${header.data} (${header.fingerprint.slice(0, 8)})`;
  return `${key} ${header[key]}`;
};

/**
 * How two headers differ, in words; empty if they are of one measurement.
 *
 * @param ignored keys that may differ
 */
export function headerDifferences(
  a: ResultsHeader,
  b: ResultsHeader,
  ignored: readonly (keyof ResultsHeader)[] = [],
): string[] {
  return SAME.filter((key) => !ignored.includes(key) && a[key] !== b[key])
    .map((key) => `${shown(a, key)} and ${shown(b, key)}`);
}

function parseLine(path: string, text: string, number: number): Record<string, unknown> {
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // said below
  }
  throw new ResultsError(
    `Cannot read ${path}: line ${number} is not a JSON object; want a file that eval wrote`,
  );
}

/** Bytes of a file up to the end of its last whole line. */
export function wholeLines(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, bytes.lastIndexOf("\n".charCodeAt(0)) + 1);
}

/**
 * Reads a results file; a last line that was cut off is left out.
 *
 * @throws {ResultsError} if it is not one
 */
export function readResults(path: string): Results {
  const text = new TextDecoder().decode(wholeLines(Deno.readFileSync(path)));
  const [first, ...rest] = text.split("\n").filter((line) => line !== "")
    .map((line, i) => parseLine(path, line, i + 1));
  if (typeof first?.benchmark !== "string" || typeof first.weights !== "string") {
    throw new ResultsError(
      `Cannot read ${path}: its first line does not say which benchmark and model it is about; ` +
        "want a file that eval --benchmark wrote",
    );
  }
  const lines: ResultsLine[] = [], skipped: SkippedLine[] = [];
  for (const line of rest) {
    if (typeof line.skipped === "string") skipped.push(line as unknown as SkippedLine);
    else if (typeof line.score === "number") lines.push(line as unknown as ResultsLine);
    else throw new ResultsError(`Cannot read ${path}: row ${line.index} has no score`);
  }
  return { path, header: first as unknown as ResultsHeader, lines, skipped };
}

/** A results file that is being written. */
export class ResultsWriter implements Disposable {
  readonly #file: Deno.FsFile;
  /** What an earlier part of the measurement found. */
  readonly earlier: Pick<Results, "lines" | "skipped">;

  /**
   * Opens a file: a new one, or one of the same measurement that was stopped.
   *
   * @param path its folder must exist
   * @throws {ResultsError} if the file is of another measurement; nothing is changed then
   */
  constructor(path: string, header: ResultsHeader) {
    const size = Deno.statSync.bind(null, path);
    let bytes = new Uint8Array();
    try {
      if (size().size > 0) bytes = Deno.readFileSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    const whole = wholeLines(bytes);
    if (bytes.length > 0 && whole.length === 0) {
      throw new ResultsError(`Cannot write ${path}: it holds something else; name another file`);
    }
    if (whole.length > 0) {
      const found = readResults(path);
      const differences = headerDifferences(found.header, header);
      if (differences.length > 0) {
        throw new ResultsError(
          `Cannot go on with ${path}: it is of another measurement: ${differences.join("; ")}. ` +
            "Name another file with --out, or remove it",
        );
      }
      this.earlier = found;
    } else {
      this.earlier = { lines: [], skipped: [] };
    }
    this.#file = Deno.openSync(path, { write: true, create: true });
    this.#file.truncateSync(whole.length);
    this.#file.seekSync(0, Deno.SeekMode.End);
    if (whole.length === 0) this.#write(header);
  }

  #write(value: ResultsHeader | ResultsLine | SkippedLine): void {
    let bytes = new TextEncoder().encode(JSON.stringify(value) + "\n");
    while (bytes.length > 0) bytes = bytes.subarray(this.#file.writeSync(bytes));
  }

  /** Appends a line. */
  add(line: ResultsLine | SkippedLine): void {
    this.#write(line);
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}
