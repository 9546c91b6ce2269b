import { JsonLinesFile } from "./json_lines_file.ts";

/** One completion that was sampled, and what it earned. */
export interface CompletionRow {
  /** The optimizer step it was sampled for. */
  step: number;
  /** The question, as the user's rows have it. */
  prompt: string;
  /** The same number for all completions of one prompt with its pictures. */
  group?: number;
  /** What the model said. */
  completion: string;
  /** Each reward function's score by its name; null if it does not apply or failed. */
  rewards: Readonly<Record<string, number | null>>;
  /** The weighted sum of the scores; null if every one is null. */
  reward: number | null;
  /** How much better than its group; null if the group had none. */
  advantage: number | null;
  /** Tokens of the completion. */
  length?: number;
  /** Why it ended: `eos`, `stop` or `length`. */
  finish_reason?: string;
  /** What the answer should have been, where the data says. */
  expected?: string | null;
}

/** Writes completions.jsonl: every completion of the run with its rewards, one a line. */
export class CompletionsWriter {
  readonly #file: JsonLinesFile<CompletionRow>;

  /**
   * @param path where completions.jsonl is or will be
   * @param resumedFromStep completions sampled after this step are cut off; default: the file
   *   starts empty
   * @throws {RunFileError} if the file cannot be opened
   */
  constructor(path: string, resumedFromStep?: number) {
    this.#file = new JsonLinesFile<CompletionRow>(
      path,
      "completions",
      resumedFromStep === undefined
        ? undefined
        : (row) => typeof row.step === "number" && row.step <= resumedFromStep,
    );
  }

  /**
   * Appends rows.
   *
   * @throws {RunFileError} if they cannot be written
   */
  write(rows: readonly CompletionRow[]): void {
    this.#file.append(...rows);
  }

  /** Syncs and closes the file. */
  close(): void {
    this.#file.close();
  }
}
