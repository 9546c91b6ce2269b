/**
 * Summarizes parity results: one line for each kind of case and quantity, and one for each failure.
 *
 * @module
 */
import type { ParityResult } from "./result.ts";

/** Cases of one kind, compared on one kind of quantity. */
export interface ParityRow {
  /** `lora/dora`, `sampling/transformers`. */
  readonly kind: string;
  /** `gradient`, `loss`. */
  readonly quantity: string;
  readonly count: number;
  /** The result with the largest error relative to its tolerance. */
  readonly worst: ParityResult;
  readonly failures: readonly ParityResult[];
}

/** A case's name without number, settings, picture and notes. */
function kindOf(name: string): string {
  const [plain] = name.split(/: |[ [{]/, 1);
  const [group, ...parts] = plain.split("/");
  const part = parts.find((candidate) => !/\.(png|json)$/.test(candidate));
  return [group, part].filter((text) => text !== undefined)
    .map((text) => text?.replace(/\..*$/, "")).join("/");
}

/** A quantity without the tensor's name or number. */
function quantityKind(quantity: string): string {
  const [first] = quantity.split(" ");
  if (first === "gradient" || first === "merged" || first === "metric") return first;
  if (first === "final") return quantity.replace(/^final .* /, "final weights ");
  return quantity.replace(/\.\d+(?=\.|$)/g, "");
}

/** Error over tolerance; infinite if no error is allowed and there is one. */
function share({ error, tolerance }: ParityResult): number {
  return error === 0 ? 0 : error / tolerance;
}

/** Groups results by kind of case and quantity, in the order in which they first come. */
export function parityRows(results: readonly ParityResult[]): ParityRow[] {
  const groups = new Map<string, ParityResult[]>();
  for (const result of results) {
    const key = `${kindOf(result.case)}\n${quantityKind(result.quantity)}`;
    const group = groups.get(key);
    if (group) group.push(result);
    else groups.set(key, [result]);
  }
  return [...groups].map(([key, group]) => {
    const [kind, quantity] = key.split("\n");
    const worst = group.reduce((a, b) => !b.ok && a.ok || share(b) > share(a) ? b : a);
    return {
      kind,
      quantity,
      count: group.length,
      worst,
      failures: group.filter(({ ok }) => !ok),
    };
  });
}

const number = (value: number): string =>
  value === 0 ? "0" : Number.isFinite(value) ? value.toExponential(1) : "∞";

const line = (
  kind: string,
  quantity: string,
  count: string,
  error: string,
  tolerance: string,
  verdict: string,
): string =>
  `${kind.padEnd(32)} ${quantity.padEnd(28)} ${count.padStart(5)}  ${error.padStart(9)}  ` +
  `${tolerance.padStart(9)}  ${verdict}`;

/** The heading over {@linkcode parityLines}. */
export const PARITY_HEADING: string = line(
  "case",
  "quantity",
  "count",
  "error",
  "tolerance",
  "",
).trimEnd();

/**
 * Lines of the table: one a row with its worst result, then each failure with its detail.
 *
 * @param all a line for every single result instead
 */
export function parityLines(results: readonly ParityResult[], all = false): string[] {
  if (all) {
    return results.map((result) =>
      line(
        result.case,
        result.quantity,
        "1",
        number(result.error),
        number(result.tolerance),
        (result.ok ? "ok" : "FAILED") + (result.detail ? `  ${result.detail}` : ""),
      )
    );
  }
  return parityRows(results).flatMap(({ kind, quantity, count, worst, failures }) => [
    line(
      kind,
      quantity,
      String(count),
      number(worst.error),
      number(worst.tolerance),
      failures.length === 0 ? "ok" : `${failures.length} FAILED`,
    ),
    ...failures.map((failure) =>
      `  FAILED ${failure.case}, ${failure.quantity}: error ${number(failure.error)}, ` +
      `tolerance ${number(failure.tolerance)}${failure.detail ? `; ${failure.detail}` : ""}`
    ),
  ]);
}
