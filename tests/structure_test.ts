import { assertEquals } from "@std/assert";

const root = new URL("../", import.meta.url);

/** Most lines of a source file. */
const MOST_LINES = 450;

/** Most files of a folder in `src`; 16 or fewer is the aim. */
const MOST_FILES = 20;

/**
 * Circles of imports that are left, the files of each in the order of their names. The list only
 * shrinks: a test refuses an entry that is no circle any more.
 */
const KNOWN_CIRCLES: readonly (readonly string[])[] = [];

/** Words that a second-language reader stumbles over, and what to write. */
const REFUSED_WORDS: readonly (readonly [words: RegExp, instead: string])[] = [
  [/the way back/i, "the backward pass"],
  [/\bnobody\b/i, "no caller, no test, nothing"],
  [/\bwhoever\b/i, "the caller, the user"],
  [/\b(?:its|their|whose|'s) business\b/i, "say who is responsible for what"],
  [/\bat a door\b|\bdoor to\b/i, "interface"],
  [/plays the GPU/i, "software adapter"],
  [/@throws \{\w+\} where\b/i, "@throws {X} if"],
  [/\bnull where\b/i, "null if"],
];

/** How many of them are left, by folder. A number only shrinks. */
const WORDS_LEFT: Record<string, number> = {};

interface Import {
  readonly from: string;
  readonly to: string;
}

async function* sourceFiles(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
    if (isDirectory) yield* sourceFiles(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield `${folder}${name}`;
  }
}

/** Comments and the texts of examples in them are no imports. */
function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function importsOf(path: string, source: string): Import[] {
  const found: Import[] = [];
  const text = withoutComments(source);
  const add = (specifier: string) => {
    if (!specifier.startsWith(".")) return;
    const to = new URL(specifier, new URL(path, root)).href.slice(root.href.length);
    found.push({ from: path, to: decodeURIComponent(to) });
  };
  // An import of types counts too: to understand a file, one reads what it names.
  for (
    const [, specifier] of text.matchAll(
      /^(?:import|export)\s[^;"']*?(?:from\s*)?["']([^"']+)["']/gm,
    )
  ) add(specifier);
  for (const [, specifier] of text.matchAll(/import\(\s*["']([^"']+)["']\s*\)/g)) add(specifier);
  return found;
}

const files: [path: string, source: string][] = [];
for (const folder of ["src/", "tasks/"]) {
  for await (const path of sourceFiles(folder)) {
    files.push([path, await Deno.readTextFile(new URL(path, root))]);
  }
}
const imports = files.flatMap(([path, source]) => importsOf(path, source));

/** The lines of a fenced block of a document, without the empty ones. */
async function fencedBlock(path: string, name: string): Promise<string[]> {
  const text = await Deno.readTextFile(new URL(path, root));
  const block = new RegExp("^```" + name + "\\n([\\s\\S]*?)^```", "m").exec(text);
  if (block === null) throw new Error(`Cannot find the block \`\`\`${name} in ${path}`);
  return block[1].split("\n").filter((line) => line.trim() !== "");
}

/** `tasks`, a folder of `src`, or `base` for the files straight in it. */
function layerOf(path: string): string {
  const [top, folder, rest] = path.split("/");
  if (top !== "src") return top;
  return rest === undefined ? "base" : folder;
}

Deno.test("imports, of types too, go down the layers that docs/architecture.md draws", async () => {
  const height = new Map<string, number>();
  const lines = await fencedBlock("docs/architecture.md", "layers");
  lines.forEach((line, at) => {
    for (const name of line.split(",")) height.set(name.trim(), lines.length - at);
  });
  const layers = [...new Set(files.map(([path]) => layerOf(path)))].sort();
  assertEquals([...height.keys()].sort(), layers, "the drawing names other folders than there are");
  const upward = imports.filter(({ from, to }) => {
    const source = layerOf(from), target = layerOf(to);
    const isOurs = to.startsWith("src/") || to.startsWith("tasks/");
    return isOurs && source !== target && height.get(source)! <= height.get(target)!;
  });
  assertEquals(upward, []);
});

/** Groups of files that import each other in however many steps (Tarjan's algorithm). */
function circles(): string[][] {
  const targets = new Map<string, string[]>(files.map(([path]) => [path, []]));
  for (const { from, to } of imports) if (targets.has(to)) targets.get(from)!.push(to);
  const order = new Map<string, number>(), lowest = new Map<string, number>();
  const stack: string[] = [], found: string[][] = [];
  const visit = (path: string): void => {
    order.set(path, order.size);
    lowest.set(path, order.get(path)!);
    stack.push(path);
    for (const next of targets.get(path)!) {
      if (!order.has(next)) visit(next);
      if (!stack.includes(next)) continue;
      lowest.set(path, Math.min(lowest.get(path)!, lowest.get(next)!));
    }
    if (lowest.get(path) !== order.get(path)) return;
    const circle = stack.splice(stack.indexOf(path));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const path of targets.keys()) if (!order.has(path)) visit(path);
  return found.sort();
}

Deno.test("no two modules import each other, in however many steps, by types neither", () => {
  assertEquals(circles(), KNOWN_CIRCLES);
});

Deno.test(`no folder of src/ has more than ${MOST_FILES} files`, () => {
  const counts = new Map<string, number>();
  for (const [path] of files) {
    const folder = path.slice(0, path.lastIndexOf("/"));
    if (folder.startsWith("src")) counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  assertEquals([...counts].filter(([, count]) => count > MOST_FILES), []);
});

Deno.test("every import that is relative leads to a file", () => {
  const known = new Set(files.map(([path]) => path));
  const missing = imports.filter(({ to }) =>
    to.endsWith(".ts") && !known.has(to) && /^(src|tasks)\//.test(to)
  );
  assertEquals(missing, []);
});

Deno.test("no source file is longer than can be read in one go", () => {
  const lines = (source: string) => source.trimEnd().split("\n").length;
  const long = files.filter(([, source]) => lines(source) > MOST_LINES)
    .map(([path, source]) => `${path}: ${lines(source)} lines, want ${MOST_LINES} at most`);
  assertEquals(long, []);
});

Deno.test("nothing escapes the type checker, and nothing is left to do", () => {
  const wrong = files.flatMap(([path, source]) =>
    [
      // Line by line: a pattern that may begin anywhere takes minutes on the kernels' base64.
      ...withoutComments(source).split("\n").filter((line) =>
        /\bas any\b|: any\b|<any>/.test(line)
      ),
      ...source.split("\n").filter((line) =>
        /@ts-ignore|@ts-nocheck|\bTODO\b|\bFIXME\b/.test(line)
      ),
    ].map((line) => `${path}: ${line.trim()}`)
  );
  assertEquals(wrong, []);
});

/** Every module and page, without this test and the logs in docs/runs. */
async function readTexts(): Promise<[path: string, text: string][]> {
  const found: [string, string][] = [];
  const visit = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(new URL(folder || ".", root))) {
      const path = `${folder}${name}`;
      if (name.startsWith(".") || path === "docs/runs" || path === "links") continue;
      if (isDirectory) await visit(`${path}/`);
      else if (/\.(ts|md|c|h|yaml)$/.test(name) && path !== "tests/structure_test.ts") {
        found.push([path, await Deno.readTextFile(new URL(path, root))]);
      }
    }
  };
  await visit("");
  return found.sort();
}

Deno.test("texts are in plain English", async () => {
  const counts: Record<string, number> = {}, found: string[] = [];
  for (const [path, text] of await readTexts()) {
    // Lines of a comment as one text, so that a line break does not hide anything.
    const plain = text.replace(/\n\s*(?:\*|\/\/)?\s*/g, " ");
    for (const [words, instead] of REFUSED_WORDS) {
      const count = [...plain.matchAll(new RegExp(words.source, "gi"))].length;
      if (count === 0) continue;
      const folder = path.split("/").slice(0, 2).join("/");
      counts[folder] = (counts[folder] ?? 0) + count;
      found.push(`${path}: ${count} × ${words.source}: write ${instead}`);
    }
  }
  const tooMany = Object.entries(counts).filter(([folder, count]) =>
    count > (WORDS_LEFT[folder] ?? 0)
  );
  const shown = found.filter((line) => tooMany.some(([folder]) => line.startsWith(folder)));
  assertEquals(shown, []);
});

Deno.test("tests name no document and open no file that the repository does not have", async () => {
  const missing: string[] = [];
  const texts = await readTexts();
  const documents = new Set(texts.map(([path]) => path.slice(path.lastIndexOf("/") + 1)));
  for (const [path, text] of texts) {
    if (!path.startsWith("tests/")) continue;
    const cited = [...text.matchAll(/\b(?:the contract\b|[A-Z][A-Za-z_]*\.md\b)/g)]
      .map(([name]) => name)
      .filter((name) => !documents.has(name));
    missing.push(...cited.map((name) => `${path} cites ${name}`));
    const opened = text.matchAll(
      /new URL\(\s*["'`](\.\.\/[^"'`$]*)["'`],\s*import\.meta\.url\s*,?\s*\)/g,
    );
    for (const [, relative] of opened) {
      const target = new URL(relative, new URL(path, root));
      // What lies beside the project is there or not; a test that needs it says so.
      if (target.href.startsWith(new URL("../shared/", root).href)) continue;
      if (target.href === new URL("../shared", root).href) continue;
      const exists = await Deno.stat(target).then(() => true, () => false);
      if (!exists) missing.push(`${path} opens ${relative}`);
    }
  }
  assertEquals(missing, []);
});
