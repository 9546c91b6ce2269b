/**
 * The parameters of the kernels, read from their C sources.
 * @module
 */

/** Comments may contain parentheses. */
function withoutComments(source: string): string {
  return source.replace(/\/\/.*$/gm, "").replace(/\/\*[\s\S]*?\*\//g, "");
}

/**
 * The names of the parameters of each exported function, in order.
 *
 * @param sources texts of C files
 * @throws {Error} if an `EXPORT(name)` is not followed by a function of that name
 */
export function kernelParameters(sources: readonly string[]): Record<string, string[]> {
  const found: [name: string, parameters: string[]][] = [];
  for (const source of sources.map(withoutComments)) {
    for (const [, name, rest] of source.matchAll(/EXPORT\((\w+)\)([^{]*)\{/g)) {
      const parts = /^\s*\w+\s+(\w+)\s*\(([^)]*)\)\s*$/.exec(rest);
      if (parts === null || parts[1] !== name) {
        throw new Error(`Cannot read the parameters of ${name}: got "${rest.trim()}"`);
      }
      const list = parts[2].split(",").map((text) => text.trim()).filter((text) => text !== "void");
      found.push([name, list.map((text) => /\w+$/.exec(text)![0])]);
    }
  }
  return Object.fromEntries(found.sort(([a], [b]) => a < b ? -1 : 1));
}
