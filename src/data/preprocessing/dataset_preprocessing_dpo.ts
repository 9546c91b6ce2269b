import type { Row } from "../rows/row.ts";

/**
 * Leaves rows as they are: NanoVLM-Lab's module of this name makes every picture RGB, and decoding
 * does that here.
 */
export function keepRow(row: Row): Row {
  return row;
}
