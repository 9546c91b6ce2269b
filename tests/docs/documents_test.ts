import { assertEquals } from "@std/assert";

const root = new URL("../../", import.meta.url);

/** Paths of files below folders of the project, relative to it. */
async function filesBelow(folders: readonly string[], end: RegExp): Promise<string[]> {
  const found: string[] = [];
  const visit = async (folder: string) => {
    for await (const { name, isDirectory } of Deno.readDir(new URL(`./${folder}`, root))) {
      if (name === ".git" || name === "node_modules") continue;
      if (isDirectory) await visit(`${folder}${name}/`);
      else if (end.test(name)) found.push(folder + name);
    }
  };
  for (const folder of folders) await visit(folder);
  return found.sort();
}

const SOURCES = ["src/", "tasks/", "tests/", "bench/", "kernels/", "reward_functions/", "configs/"];
const documents = [
  ...await filesBelow(["docs/", "examples/", ...SOURCES], /\.md$/),
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
];
const code = await filesBelow(SOURCES, /\.(ts|c|h|py|yaml)$/);
const read = (path: string) => Deno.readTextFile(new URL(path, root));

async function exists(url: URL): Promise<boolean> {
  try {
    await Deno.stat(url);
    return true;
  } catch {
    return false;
  }
}

/** The anchor that a heading gets. */
function anchorOf(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");
}

Deno.test("every link of a document leads to a file, and to a heading if it names one", async () => {
  const broken: string[] = [];
  for (const path of documents) {
    const text = (await read(path)).replace(/^```[\s\S]*?^```/gm, "");
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file, anchor] = target.split("#");
      const url = file === "" ? new URL(path, root) : new URL(file, new URL(path, root));
      if (!await exists(url)) broken.push(`${path}: ${target}`);
      else if (anchor !== undefined) {
        const headings = [...(await Deno.readTextFile(url)).matchAll(/^#+ (.*)$/gm)]
          .map(([, heading]) => anchorOf(heading));
        if (!headings.includes(anchor)) broken.push(`${path}: ${target}`);
      }
    }
  }
  assertEquals(broken, []);
});

Deno.test("a document that a comment names is in the repository", async () => {
  const known = new Set([...documents, ...await filesBelow(["docs/"], /\.log$/)]);
  const names = new Set([...known].map((path) => path.split("/").at(-1)!));
  const missing: string[] = [];
  for (const path of code) {
    for (const [line] of (await read(path)).matchAll(/^\s*(?:\*|\/\/|\/\*\*).*$/gm)) {
      for (const [name] of line.matchAll(/(?<![\w/.-])(?:[\w./-]+\.md|docs\/runs\/[\w./-]+)\b/g)) {
        const found = name.includes("/")
          ? known.has(name.replace(/^(\.\.?\/)+/, "")) ||
            await exists(new URL(name, new URL(path, root)))
          : names.has(name);
        if (!found) missing.push(`${path}: ${name}`);
      }
    }
  }
  assertEquals(missing, []);
});

Deno.test("docs/environment.md has every variable of ours, and no other", async () => {
  const documented = new Set(
    [...(await read("docs/environment.md")).matchAll(/`(NANOVLM_[A-Z0-9_]+)`/g)].map(([, n]) => n),
  );
  const readHere = new Set<string>();
  for (const path of code.filter((path) => path.startsWith("src/") || path.startsWith("tasks/"))) {
    // As a string alone: names of constants and texts for the user are not read.
    for (const [, name] of (await read(path)).matchAll(/["'](NANOVLM_[A-Z0-9_]+)["']/g)) {
      readHere.add(name);
    }
  }
  const inTests = new Set(
    [...(await read(".ci/run")).matchAll(/NANOVLM_[A-Z0-9_]+/g)].map(([name]) => name),
  );
  for (const path of code.filter((path) => path.startsWith("tests/"))) {
    const source = await read(path);
    for (const [, name] of source.matchAll(/env\.get\(\s*["'](NANOVLM_[A-Z0-9_]+)["']/g)) {
      inTests.add(name);
    }
  }
  assertEquals([...readHere, ...inTests].filter((name) => !documented.has(name)), []);
  const unknown = [...documented].filter((name) => !readHere.has(name) && !inTests.has(name));
  assertEquals(unknown, []);
});

Deno.test("the tree of docs/architecture.md shows every folder of src, two levels deep", async () => {
  const [, drawn] = /```tree\n([\s\S]*?)```/.exec(await read("docs/architecture.md"))!;
  const shown: string[] = [];
  let above = "";
  for (const line of drawn.split("\n")) {
    const match = /^( *)([\w.]+)\/(?:\s|$)/.exec(line);
    if (match === null) continue;
    const [, indent, name] = match;
    if (indent.length === 2) shown.push(above = `src/${name}`);
    else if (indent.length === 4) shown.push(`${above}/${name}`);
  }
  const folders: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL("src/", root))) {
    if (!isDirectory) continue;
    folders.push(`src/${name}`);
    for await (const inner of Deno.readDir(new URL(`src/${name}/`, root))) {
      if (inner.isDirectory) folders.push(`src/${name}/${inner.name}`);
    }
  }
  assertEquals(shown.toSorted(), folders.sort());
});
