import { displayWidth, printable, truncateToWidth, wrapToWidth } from "./terminal_text.ts";

/** A column of a table on the terminal. */
export interface TableColumn {
  /** Its heading. */
  readonly header: string;
  /** Where its cells stand; numbers read best at the right. */
  readonly align?: "left" | "right";
  /** How many lines a cell may take before it is cut; default: 1. */
  readonly lines?: number;
}

/** A cell: null prints as a dash. */
export type TableCell = string | number | boolean | null;

const GAP = "  ";
const NARROWEST = 6;

/**
 * Lays out a table in aligned columns. Cells may hold anything: control characters are taken out,
 * wide characters count as two columns, and what does not fit is wrapped or cut.
 *
 * @param columns headings and alignment
 * @param rows a cell for each column
 * @param width the columns of the terminal; default: 100
 * @returns lines, each ended by a line break
 *
 * @example Wide characters stay aligned
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatTable } from "./console_table.ts";
 *
 * const table = formatTable([{ header: "text" }, { header: "n", align: "right" }], [
 *   ["日本", 1],
 *   ["four", 23],
 * ]);
 * assertEquals(table, "text   n\n────  ──\n日本   1\nfour  23\n");
 * ```
 */
export function formatTable(
  columns: readonly TableColumn[],
  rows: readonly (readonly TableCell[])[],
  width = 100,
): string {
  const texts = rows.map((row) => columns.map((_, i) => cellText(row[i] ?? null)));
  const widths = fitWidths(
    columns.map((column, i) =>
      Math.max(displayWidth(column.header), 1, ...texts.map((row) => displayWidth(row[i])))
    ),
    width,
  );
  const lines = [
    formatLine(columns, widths, columns.map((c, i) => truncateToWidth(c.header, widths[i]))),
    widths.map((w) => "─".repeat(w)).join(GAP),
  ];
  for (const row of texts) {
    const cells = row.map((text, i) => wrapToWidth(text, widths[i], columns[i].lines ?? 1));
    const height = Math.max(...cells.map((cell) => cell.length));
    for (let line = 0; line < height; line++) {
      lines.push(formatLine(columns, widths, cells.map((cell) => cell[line] ?? "")));
    }
  }
  return lines.map((line) => line.trimEnd() + "\n").join("");
}

/**
 * A number as a person reads it: four significant digits, thousands apart, tiny and huge ones with
 * an exponent.
 *
 * @param value any number
 */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential(2);
  if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(size < 0.1 ? 3 : 4);
}

function cellText(cell: TableCell): string {
  if (cell === null) return "–";
  if (typeof cell === "number") return formatNumber(cell);
  if (typeof cell === "boolean") return cell ? "yes" : "no";
  return printable(cell);
}

/** Narrows the widest columns until the table fits. */
function fitWidths(wanted: readonly number[], width: number): number[] {
  const widths = [...wanted];
  const room = width - GAP.length * (widths.length - 1);
  let total = widths.reduce((sum, w) => sum + w, 0);
  while (total > room) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest] <= NARROWEST) break;
    widths[widest]--;
    total--;
  }
  return widths;
}

function formatLine(
  columns: readonly TableColumn[],
  widths: readonly number[],
  cells: readonly string[],
): string {
  return cells.map((cell, i) => {
    const padding = " ".repeat(Math.max(0, widths[i] - displayWidth(cell)));
    return columns[i].align === "right" ? padding + cell : cell + padding;
  }).join(GAP);
}
