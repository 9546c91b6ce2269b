import { formatTable } from "./console_table.ts";
import type { CompletionRow } from "../files/completions_writer.ts";

/**
 * The small table that `grpo.log_completions` prints: prompt, completion, each function's score
 * and the advantage.
 *
 * @param rows completions of one step
 * @param limit how many to show (grpo.num_completions_to_print); default: all
 * @param width the columns of the terminal
 * @returns lines, each ended by a line break
 */
export function formatCompletions(
  rows: readonly CompletionRow[],
  limit: number = rows.length,
  width = 100,
): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.rewards)))];
  return formatTable(
    [
      { header: "prompt", lines: 2 },
      { header: "completion", lines: 3 },
      ...names.map((header) => ({ header, align: "right" as const })),
      { header: "advantage", align: "right" },
    ],
    rows.slice(0, limit).map((row) => [
      row.prompt,
      row.completion,
      ...names.map((name) => row.rewards[name] ?? null),
      row.advantage === null ? null : row.advantage.toFixed(2),
    ]),
    width,
  );
}
