/**
 * The commands and the rows of the README, in its order.
 *
 * @module
 */

/** A command line, or the row that a data file has a line of for each example. */
export type ReadmeStep =
  | { readonly kind: "command"; readonly words: readonly string[]; readonly line: string }
  | {
    readonly kind: "rows";
    readonly file: string;
    readonly row: Readonly<Record<string, string>>;
  };

/** The words of a command line as a shell reads them; it has quotes and no other syntax. */
export function shellWords(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c);
}

/**
 * Reads the blocks `sh` and `json` of a page. A block `json` holds a row; the first name of a
 * `.jsonl` file before it says where.
 */
export function readmeSteps(page: string): ReadmeStep[] {
  const steps: ReadmeStep[] = [];
  let before = 0;
  for (const block of page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
    const [, language, text] = block;
    const above = page.slice(before, block.index);
    before = block.index + block[0].length;
    if (language === "json") {
      const file = /`([\w./-]+\.jsonl)`/.exec(above)?.[1];
      if (file === undefined) throw new Error(`no file is named above the row ${text}`);
      steps.push({ kind: "rows", file, row: JSON.parse(text) });
    } else if (language === "sh") {
      for (const line of text.trim().split("\n").filter((line) => !/^\s*(#|$)/.test(line))) {
        steps.push({ kind: "command", words: shellWords(line), line });
      }
    }
  }
  return steps;
}
