/**
 * WGSL that is written once for several variants of a program. A template is WGSL with marks:
 *
 * - `#if name`, `#if !name`, `#else`, `#end`: the lines between are kept if the condition holds.
 * - `#for w of 0 1`, `#end`: the lines between are repeated for each value, with it in place of `$w`.
 * - `#pairs`, `#end`: the lines between are repeated for the first half of the vectors of a head, with
 *   the number of the vector in place of `#`, and that of its partner in the second half of `##`.
 * - Another line with `#` is repeated for every vector of a head, with its number in place of `#`.
 * - `SUM[term]` is the sum of the term over all vectors of a head.
 *
 * @module
 */

/** What a template is expanded for. */
export interface TemplateOptions {
  /** Vectors (groups of four dims) of a head. */
  readonly vectors: number;
  /** The conditions of `#if`, by name. */
  readonly conditions: Readonly<Record<string, boolean>>;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** The lines up to the `#end` of the block that begins before `start`, and those after `#else`. */
function blockAt(
  lines: readonly string[],
  start: number,
): { body: string[]; otherwise: string[]; next: number } {
  const parts: string[][] = [[]];
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    const mark = lines[i].trim();
    if (depth === 0 && mark === "#end") {
      return { body: parts[0], otherwise: parts[1] ?? [], next: i + 1 };
    }
    if (depth === 0 && mark === "#else") {
      parts.push([]);
      continue;
    }
    if (/^#(if|for|pairs)\b/.test(mark)) depth++;
    if (mark === "#end") depth--;
    parts[parts.length - 1].push(lines[i]);
  }
  throw new Error(`Cannot expand a template: no #end for "${lines[start - 1]?.trim()}"`);
}

function expandLine(line: string, vectors: number): string[] {
  const summed = line.replace(
    /SUM\[([^\]]*)\]/g,
    (_, term: string) => numbers(vectors).map((d) => term.replaceAll("#", `${d}`)).join(" + "),
  );
  if (!summed.includes("#")) return [summed];
  return numbers(vectors).map((d) => summed.replaceAll("#", `${d}`));
}

function expandLines(lines: readonly string[], options: TemplateOptions): string[] {
  const { vectors, conditions } = options;
  const expanded: string[] = [];
  for (let i = 0; i < lines.length;) {
    const mark = /^\s*#(if|for|pairs)\b\s*(.*)$/.exec(lines[i]);
    if (mark === null) {
      expanded.push(...expandLine(lines[i++], vectors));
      continue;
    }
    const [, kind, rest] = mark;
    const { body, otherwise, next } = blockAt(lines, i + 1);
    i = next;
    if (kind === "if") {
      const name = rest.trim().replace("!", "");
      if (!(name in conditions)) {
        throw new Error(`Cannot expand a template: no condition "${name}"`);
      }
      const holds = conditions[name] !== rest.includes("!");
      expanded.push(...expandLines(holds ? body : otherwise, options));
    } else if (kind === "for") {
      const [, name, values] = /^(\w+) of (.*)$/.exec(rest)!;
      for (const value of values.split(" ")) {
        const filled = body.map((line) => line.replaceAll(`$${name}`, value));
        expanded.push(...expandLines(filled, options));
      }
    } else {
      const half = vectors / 2;
      for (const d of numbers(half)) {
        const filled = body.map((line) =>
          line.replaceAll("##", `${d + half}`).replaceAll("#", `${d}`)
        );
        expanded.push(...filled);
      }
    }
  }
  return expanded;
}

/**
 * The WGSL of a template for one variant.
 *
 * @throws {Error} if a block does not end, or a condition is unknown
 */
export function expandTemplate(template: string, options: TemplateOptions): string {
  return expandLines(template.split("\n"), options).join("\n");
}
