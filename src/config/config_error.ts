/**
 * What is wrong with a config, and where.
 *
 * @module
 */

/** Where a value was written: a line of a file, or an override on the command line. */
export interface Position {
  /** The file's name as the user gave it, or `--set key=value`. */
  readonly file: string;
  /** 1-based line, if there is one. */
  readonly line?: number;
}

/** One mistake in a config. */
export interface ConfigProblem extends Position {
  /** The key with its section: `training.max_steps`. Empty for the whole file. */
  readonly key: string;
  /** What was wrong, what it got, what it wanted, the way out. */
  readonly text: string;
  /** The known key nearest to an unknown one. */
  readonly nearest?: string;
  /** Set if no table has the key: its own name. */
  readonly unknown?: { readonly name: string };
}

/** `file:line`, or the file alone. */
export function formatPosition({ file, line }: Position): string {
  return line === undefined ? file : `${file}:${line}`;
}

/**
 * A config that cannot be used: nothing was started. Its message has a line for each mistake;
 * `file`, `line`, `key` and `nearest` are those of the first one.
 */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Every mistake that was found, in the order of the file. */
  readonly problems: readonly ConfigProblem[];
  /** The file of the first mistake. */
  readonly file: string;
  /** The 1-based line of the first mistake. */
  readonly line: number | undefined;
  /** The key of the first mistake. */
  readonly key: string;
  /** The known key nearest to an unknown one. */
  readonly nearest: string | undefined;

  constructor(problems: readonly ConfigProblem[]) {
    super(
      problems.map((problem) =>
        `${formatPosition(problem)}: ${problem.key === "" ? "" : `${problem.key}: `}${problem.text}`
      ).join("\n"),
    );
    this.problems = problems;
    this.file = problems[0].file;
    this.line = problems[0].line;
    this.key = problems[0].key;
    this.nearest = problems[0].nearest;
  }
}
