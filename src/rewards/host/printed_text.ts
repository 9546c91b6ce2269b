/** Makes a module's text safe to show: no control characters, limited in length. */

/** C0 and C1 controls, format characters (bidirectional overrides, zero widths), separators, surrogates. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** Complete terminal escape sequences; others lose only their escape character. */
const ESCAPE_SEQUENCE = new RegExp(
  String.raw`(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?`,
  "g",
);

/** One printed line, cut to `limit` characters. */
export function cleanLine(line: string, limit = 300): string {
  const clean = line.slice(0, limit * 8).replaceAll(ESCAPE_SEQUENCE, "").replaceAll("\t", " ")
    .replaceAll(CONTROL, "");
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean;
}

/** At most `lines` cleaned lines of the output; the last states how many were cut. */
export function cleanLines(printed: string[], lines = 20): string[] {
  const all = printed.flatMap((text) => text.split(/\r\n|\r|\n/, lines + 1))
    .map((line) => cleanLine(line)).filter((line) => line.trim() !== "");
  if (all.length <= lines) return all;
  return [...all.slice(0, lines), `… and ${all.length - lines} more lines`];
}
