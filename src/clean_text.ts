/** Makes text of other programs safe to show on a terminal or in a log. */

/** C0 and C1 controls, format characters (bidirectional overrides, zero widths), separators, surrogates. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** Complete terminal escape sequences; others lose only their escape character. */
const ESCAPE_SEQUENCE = new RegExp(
  String.raw`(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?`,
  "g",
);

/** One line without control characters, cut to `limit` characters. */
export function cleanLine(line: string, limit = 300): string {
  const clean = line.slice(0, limit * 8).replaceAll(ESCAPE_SEQUENCE, "").replaceAll("\t", " ")
    .replaceAll(CONTROL, "");
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean;
}

/**
 * Text of several lines, each without control characters. At most `lines` lines of `width` characters:
 * an error that quotes foreign text cannot fill a terminal.
 */
export function cleanText(text: string, lines = 60, width = 2000): string {
  const cut = text.slice(0, lines * width * 2);
  const all = cut.split(/\r\n|\r|\n/, lines + 1).map((line) => cleanLine(line, width));
  if (all.length <= lines && cut.length === text.length) return all.join("\n");
  return `${all.slice(0, lines).join("\n")}\n… (${text.length} characters in all)`;
}
