/**
 * Text of any origin, made fit for one line of a terminal: text of data sets and models may be
 * anything, and must not move the cursor, colour the screen or break a table.
 *
 * @module
 */
import { stripVTControlCharacters } from "node:util";
import stringWidth from "string-width";

// Controls, and the marks that turn the direction of what follows (CVE-2021-42574).
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * Takes out escape sequences and control characters; line breaks become `↵`, tabs a space.
 *
 * @param text anything
 * @returns one printable line
 */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/\r\n?|\n|\u2028|\u2029/g, "↵").replaceAll(
    "\t",
    " ",
  )
    .replace(CONTROLS, "");
}

/**
 * The columns a printable text takes on a terminal: two for wide characters and emoji, none for
 * marks that combine.
 *
 * @param text without control characters
 */
export function displayWidth(text: string): number {
  return stringWidth(text);
}

/**
 * Cuts a printable text to a width, with an ellipsis if something is lost.
 *
 * @param text without control characters
 * @param width the columns there are, at least 1
 */
export function truncateToWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  return takeWidth(text, width - 1)[0] + "…";
}

/**
 * Breaks a printable text into lines of a width, between words if possible.
 *
 * @param text without control characters
 * @param width the columns there are, at least 2
 * @param maxLines the last of them ends in an ellipsis if more would follow
 */
export function wrapToWidth(text: string, width: number, maxLines: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (lines.length < maxLines - 1 && displayWidth(rest) > width) {
    const [head] = takeWidth(rest, width);
    const space = rest[head.length] === " " ? head.length : head.lastIndexOf(" ");
    const end = space > head.length / 2 ? space : Math.max(head.length, 1);
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).replace(/^ +/, "");
  }
  lines.push(truncateToWidth(rest, width));
  return lines;
}

function takeWidth(text: string, width: number): [string, number] {
  let taken = "";
  let used = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const columns = displayWidth(segment);
    if (used + columns > width) break;
    taken += segment;
    used += columns;
  }
  return [taken, used];
}
