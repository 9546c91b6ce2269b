/**
 * Names of splits and slices of them, as Hugging Face `datasets` reads them:
 * `train`, `train[:5%]`, `train[10:20]`, `train[-1000:]`, `train+validation`.
 *
 * Source: https://huggingface.co/docs/datasets/loading#slice-splits
 *
 * @module
 */
import { DataError } from "../data_error.ts";
import { nearestName } from "../../config/nearest.ts";

/** One term of a split expression. */
export interface SplitSlice {
  /** The split that is cut. */
  readonly split: string;
  /** First row or per cent; null: from the start. */
  readonly from: number | null;
  /** The row or per cent to stop before; null: to the end. */
  readonly to: number | null;
  /** Whether the bounds are per cent. */
  readonly percent: boolean;
  /** How a per cent becomes a row: to the nearest row, or in steps of one whole hundredth. */
  readonly rounding: "closest" | "pct1_dropremainder";
}

const TERM =
  /^([\w.-]+?)(?:\[\s*(?:(-?[\d_]+)\s*(%)?)?\s*:\s*(?:(-?[\d_]+)\s*(%)?)?\s*\])?(?:\(([^)]*)\))?$/;

/** Names that `datasets` takes for the three usual splits. */
export const SPLIT_ALIASES: Readonly<Record<string, readonly string[]>> = {
  train: ["train", "training"],
  validation: ["validation", "valid", "dev", "val"],
  test: ["test", "testing", "eval", "evaluation"],
};

/** The usual name of a split: `dev` is `validation`; others stay as they are. */
export function canonicalSplit(name: string): string {
  for (const [split, aliases] of Object.entries(SPLIT_ALIASES)) {
    if (aliases.includes(name.toLowerCase())) return split;
  }
  return name;
}

/**
 * Reads a split expression.
 *
 * @throws {DataError} if it is not one
 */
export function parseSplit(expression: string): SplitSlice[] {
  return expression.split("+").map((term) => {
    const match = TERM.exec(term.trim());
    if (match === null) {
      throw new DataError(
        `Cannot read the split ${JSON.stringify(expression)}: ${
          JSON.stringify(term.trim())
        } is not a split; want a name and at most one slice, such as train, train[:5%], ` +
          `train[10:20], train[-1000:] or train+validation`,
      );
    }
    const [, split, from, fromPercent, to, toPercent, rounding = "closest"] = match;
    if (rounding !== "closest" && rounding !== "pct1_dropremainder") {
      throw new DataError(
        `Cannot read the split ${JSON.stringify(expression)}: rounding ${
          JSON.stringify(rounding)
        } is not known; want closest or pct1_dropremainder`,
      );
    }
    const percent = fromPercent !== undefined || toPercent !== undefined;
    const bound = (text: string | undefined): number | null => {
      if (text === undefined) return null;
      const value = Number(text.replaceAll("_", ""));
      if (!Number.isInteger(value) || (percent && Math.abs(value) > 100)) {
        throw new DataError(
          `Cannot read the split ${JSON.stringify(expression)}: ${text}${
            percent ? " % is not within −100 to 100" : " is not a row number"
          }`,
        );
      }
      return value;
    };
    return { split, from: bound(from), to: bound(to), percent, rounding };
  });
}

/** Rounds halves to the even neighbour, as Python's `round` does. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * The rows that a slice takes out of a split.
 *
 * @param slice the term
 * @param rows how many rows the split has
 * @returns first row and the row after the last; equal if nothing is left
 */
export function sliceBounds(slice: SplitSlice, rows: number): { start: number; end: number } {
  if (slice.percent && slice.rounding === "pct1_dropremainder" && rows < 100) {
    throw new DataError(
      `Cannot slice ${slice.split} with pct1_dropremainder: it has ${rows} rows, fewer than 100; ` +
        `use closest`,
    );
  }
  const place = (bound: number | null, otherwise: number): number => {
    if (bound === null) return otherwise;
    let row = bound;
    if (slice.percent) {
      row = slice.rounding === "closest"
        ? roundHalfEven(bound * rows / 100)
        : bound * Math.trunc(rows / 100);
    }
    if (row < 0) row = Math.max(rows + row, 0);
    return Math.min(row, rows);
  };
  const start = place(slice.from, 0);
  return { start, end: Math.max(start, place(slice.to, rows)) };
}

/**
 * The available split that a name refers to.
 *
 * @throws {DataError} if there is none; the message lists the available splits
 */
export function findSplit(name: string, available: readonly string[], origin: string): string {
  if (available.includes(name)) return name;
  const usual = canonicalSplit(name);
  const found = available.find((split) => canonicalSplit(split) === usual);
  if (found !== undefined) return found;
  const nearest = nearestName(name, available);
  throw new DataError(
    `Cannot load split ${JSON.stringify(name)} of ${origin}: it has ${
      available.join(", ") || "no splits"
    }${nearest === undefined ? "" : `; did you mean ${nearest}?`}`,
  );
}
