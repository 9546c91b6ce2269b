/**
 * Summarises the rows that could not be used in a few lines for the user.
 *
 * @module
 */

/** A row that could not be used. */
export interface SkippedPlace {
  /** Its file and row number. */
  readonly place: string;
  /** Why the row could not be used. */
  readonly reason: string;
}

/**
 * A line for each reason, the most frequent first, with a few places each.
 *
 * @param rows the skipped rows
 * @param examples how many places to name for each reason
 * @returns an empty text if no row was skipped
 */
export function summariseSkipped(rows: Iterable<SkippedPlace>, examples = 3): string {
  const byReason = new Map<string, string[]>();
  for (const { place, reason } of rows) {
    const places = byReason.get(reason) ?? [];
    places.push(place);
    byReason.set(reason, places);
  }
  return [...byReason].sort((a, b) => b[1].length - a[1].length).map(([reason, places]) => {
    const more = places.length > examples ? `, and ${places.length - examples} more` : "";
    return `  ${places.length} × ${reason} (${places.slice(0, examples).join("; ")}${more})`;
  }).join("\n");
}
