/**
 * The mark `<image>`, by which texts say where a picture of the row stands.
 *
 * @module
 */

const MARK = "<image>";
const MARKS = /(\s*)<image>(?:\s*<image>)*(\s*)/g;

/** How many pictures a text has marks for. */
export function countImageMarks(text: string): number {
  return text.split(MARK).length - 1;
}

/**
 * A text without its marks. Words stay apart: a mark between two words leaves the line breaks that
 * stood around it, else a space; at either end of the text it leaves nothing.
 *
 * @example A mark within a sentence
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { withoutImageMarks } from "./image_marks.ts";
 *
 * assertEquals(withoutImageMarks("<image>\nWhat?"), "What?");
 * assertEquals(withoutImageMarks("Compare\n<image>\nwith<image>this"), "Compare\nwith this");
 * ```
 */
export function withoutImageMarks(text: string): string {
  if (!text.includes(MARK)) return text;
  return text.replace(MARKS, (found, before: string, after: string, at: number) => {
    if (at === 0 || at + found.length === text.length) return "";
    const breaks = Math.max(lineBreaks(before), lineBreaks(after));
    return breaks === 0 ? " " : "\n".repeat(breaks);
  });
}

function lineBreaks(space: string): number {
  return space.split("\n").length - 1;
}
