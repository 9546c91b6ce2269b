/**
 * Sample rows for `reward`.
 *
 * @module
 */
import { UsageError } from "./usage_error.ts";

/** A row: a prompt, a completion, and further columns. */
export interface SampleRow {
  prompt: unknown;
  completion: unknown;
  [column: string]: unknown;
}

const PROMPT = "Which shape is red? A: circle B: square C: triangle D: star";

/** What is scored if no data is given. */
export const SAMPLE_ROWS: readonly SampleRow[] = [
  "<think>The square is red.</think> <answer>B</answer>",
  "<think>It may be the star.</think><answer>D</answer>",
  "<answer>The answer is B.</answer>",
  "B",
  "I cannot tell. I cannot tell. I cannot tell. I cannot tell.",
  "",
].map((completion) => ({ prompt: PROMPT, completion, answer: "B" }));

/**
 * Reads rows from a JSON Lines file; the samples if `path` is undefined.
 *
 * @throws {UsageError} if a line is no such row
 */
export async function rewardRows(path: string | undefined): Promise<SampleRow[]> {
  if (path === undefined) return [...SAMPLE_ROWS];
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`cannot read --data ${path}: there is no such file`);
  }
  const rows = text.split("\n").flatMap((line, i): SampleRow[] => {
    if (line.trim() === "") return [];
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      throw new UsageError(`${path}:${i + 1}: want a JSON object, got ${line.slice(0, 60)}`);
    }
    if (typeof row !== "object" || row === null || !("completion" in row)) {
      throw new UsageError(`${path}:${i + 1}: want an object with prompt and completion`);
    }
    return [{ prompt: "", ...row } as SampleRow];
  });
  if (rows.length === 0) throw new UsageError(`${path} has no rows`);
  return rows;
}

/** The context that the functions get: a column for each key of any row. */
export function rowsToContext(rows: readonly SampleRow[]): Record<string, unknown> {
  const known = ["prompt", "completion", "completion_ids", "trainer_state"];
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  const cells = (name: string) => rows.map((row) => Object.hasOwn(row, name) ? row[name] : null);
  const context: Record<string, unknown> = Object.fromEntries(
    [...names].filter((name) => !known.includes(name)).map((name) => [name, cells(name)]),
  );
  return {
    ...context,
    prompts: rows.map(({ prompt }) => prompt),
    completions: rows.map(({ completion }) => completion),
    completion_ids: names.has("completion_ids")
      ? rows.map(({ completion_ids }) => completion_ids ?? [])
      : [],
    trainer_state: {},
  };
}
