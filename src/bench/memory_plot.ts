/**
 * How a step's memory grows, as bars of text.
 *
 * @module
 */
import type { MemoryRow } from "./memory_bench.ts";

/** Characters of the longest bar. */
const WIDTH = 48;

/** Bars of what a step holds beside gradients of weights, over the tokens and over the vocabulary. */
export function memoryPlot(rows: readonly MemoryRow[]): string {
  const most = Math.max(...rows.map((row) => row.activations_mib));
  const lines = ["activations, MiB"];
  for (const over of ["tokens", "vocabulary"] as const) {
    lines.push(`over ${over}`);
    for (const row of rows.filter((row) => row.over === over)) {
      const bar = "█".repeat(Math.max(1, Math.round(WIDTH * row.activations_mib / most)));
      const label = row[over].toLocaleString("en").padStart(8);
      lines.push(`${label} ${bar} ${row.activations_mib.toFixed(1)}`);
    }
  }
  return lines.join("\n") + "\n";
}
