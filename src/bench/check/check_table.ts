/**
 * What `bench check` prints.
 *
 * @module
 */
import { formatTable } from "../../report/terminal/console_table.ts";
import type { CheckedRow, RecordEntry } from "./record.ts";

/** The table, under a line that says what was compared. */
export function formatCheck(
  now: RecordEntry,
  then: RecordEntry | null,
  rows: readonly CheckedRow[],
): string {
  const machine = `${now.cpu}, ${now.backend}, ${now.threads} threads, model ${now.model}`;
  const compared = then === null
    ? `no record of ${machine}: --write makes one`
    : `against the record of ${then.date}: ${machine}`;
  const worse = rows.filter(({ verdict }) => verdict === "worse").map(({ name }) => name);
  const right = (header: string) => ({ header, align: "right" as const });
  const table = formatTable(
    [{ header: "benchmark / yardstick" }, right("record"), right("now"), right("worse by"), {
      header: "",
    }],
    rows.map(({ name, now, then, worse, verdict }) => [
      name,
      then,
      now,
      worse === null ? null : `${((worse - 1) * 100).toFixed(1)} %`,
      verdict,
    ]),
  );
  const last = worse.length > 0 ? `worse: ${worse.join(", ")}` : "nothing got worse";
  return `${compared}\n\n${table}\n${last}`;
}
