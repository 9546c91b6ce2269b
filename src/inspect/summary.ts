/**
 * A data set in a few lines.
 *
 * @module
 */
import type { LookAtData } from "./look_at_data.ts";

/** Value below which this share of sorted numbers lies. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Skipped rows by their reason, the most frequent first. */
function reasonsOf({ skipped }: LookAtData): string {
  const counts = new Map<string, number>();
  for (const { reason } of skipped) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).slice(0, 5)
    .map(([reason, count]) => `${count} × ${reason}`).join("; ");
}

/**
 * Name and value of each fact.
 *
 * @returns in the order in which they are told
 */
export function summaryRows(look: LookAtData): [string, string][] {
  const { lengths } = look;
  const pictures = [...look.pictureCounts]
    .map(([count, rows]) => `${rows} with ${count === 1 ? "1 picture" : `${count} pictures`}`);
  const rows: [string, string][] = [
    ["format", look.format],
    ["columns", look.columns.join(", ")],
    ["examples", String(look.examples)],
    ["pictures", pictures.join(", ") || "none"],
  ];
  if (lengths !== null && lengths.length > 0) {
    const sorted = [...lengths].sort((a, b) => a - b);
    rows.push([
      `tokens (of ${sorted.length} examples)`,
      `median ${quantile(sorted, 0.5)}, 95 % up to ${quantile(sorted, 0.95)}, ` +
      `longest ${sorted.at(-1)}`,
    ]);
  }
  rows.push([
    "skipped",
    look.skipped.length === 0 ? "none" : `${look.skipped.length}: ${reasonsOf(look)}`,
  ]);
  return [...rows, ...look.notes.map((note): [string, string] => ["note", note])];
}
