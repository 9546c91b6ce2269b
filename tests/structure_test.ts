import { assertEquals } from "@std/assert";

const root = new URL("../", import.meta.url);

/** Most lines that a source file has. */
const MOST_LINES = 450;

/**
 * What the code of each folder may import. Types may come from anywhere but `tasks`: they are gone
 * when the program runs. `base` is what stands on nothing.
 */
const ALLOWED: Record<string, readonly string[]> = {
  base: [],
  config: ["base", "losses"],
  device: ["base"],
  ops: ["base", "device"],
  text: ["base"],
  image: ["base"],
  hub: ["base"],
  losses: ["base"],
  report: ["base"],
  model: ["base", "device", "ops", "text", "image", "hub"],
  rewards: ["base", "config"],
  data: ["base", "config", "hub", "image", "text", "rewards"],
  generate: ["base", "device", "ops", "model", "text", "image"],
};
const BELOW_EVALUATE = Object.keys(ALLOWED);
ALLOWED.evaluate = BELOW_EVALUATE;
ALLOWED.train = [...BELOW_EVALUATE, "evaluate"];
ALLOWED.parity = [...ALLOWED.train, "train"];
ALLOWED.serve = [...BELOW_EVALUATE];
ALLOWED.bench = [...ALLOWED.parity];
ALLOWED.tasks = [...ALLOWED.parity, "parity", "bench", "serve"];

/** Files that join a model's folder with its tokenizer and pictures. */
const MAY_IMPORT_MORE: Record<string, readonly string[]> = {
  "src/generate/load_model.ts": ["text", "image", "hub"],
};

/** Single files at the bottom: the config's own names, and files straight in src/. */
function layerOf(path: string): string {
  if (path === "src/vlm_config.ts") return "base";
  const [top, folder, rest] = path.split("/");
  if (top === "tasks") return "tasks";
  return rest === undefined ? "base" : folder;
}

interface Import {
  readonly from: string;
  readonly to: string;
  readonly kind: "value" | "type" | "dynamic";
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
  const add = (specifier: string, kind: Import["kind"]) => {
    if (!specifier.startsWith(".")) return;
    const to = new URL(specifier, new URL(path, root)).href.slice(root.href.length);
    found.push({ from: path, to: decodeURIComponent(to), kind });
  };
  for (
    const [, type, names, specifier] of text.matchAll(
      /^(?:import|export)\s+(type\s+)?([^;"']*?)\s*(?:from\s*)?["']([^"']+)["']/gm,
    )
  ) {
    const braces = /^\{([\s\S]*)\}$/.exec(names.replace(/\s*from$/, "").trim());
    const named = braces?.[1].split(",").map((name) => name.trim()).filter(Boolean) ?? [];
    const typesAlone = named.length > 0 && named.every((name) => name.startsWith("type "));
    add(specifier, type || typesAlone ? "type" : "value");
  }
  for (const [, specifier] of text.matchAll(/import\(\s*["']([^"']+)["']\s*\)/g)) {
    add(specifier, "dynamic");
  }
  return found;
}

const files: [path: string, source: string][] = [];
for (const folder of ["src/", "tasks/"]) {
  for await (const path of sourceFiles(folder)) {
    files.push([path, await Deno.readTextFile(new URL(path, root))]);
  }
}
const imports = files.flatMap(([path, source]) => importsOf(path, source));

Deno.test("imports go one way: tasks → train → … → model → ops → device", () => {
  const wrong = imports.filter(({ from, to, kind }) => {
    const source = layerOf(from), target = layerOf(to);
    if (source === target) return false;
    if (kind === "type") return target === "tasks";
    if (MAY_IMPORT_MORE[from]?.includes(target)) return false;
    return !(ALLOWED[source] ?? []).includes(target);
  });
  assertEquals(wrong, []);
});

Deno.test("no two modules import each other, in however many steps", () => {
  const targets = new Map<string, string[]>();
  for (const { from, to, kind } of imports) {
    if (kind !== "value") continue;
    targets.set(from, [...targets.get(from) ?? [], to]);
  }
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): string[] | null => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return null;
    for (const next of targets.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return null;
  };
  for (const path of targets.keys()) assertEquals(visit(path, []), null);
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
