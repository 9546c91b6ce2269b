/**
 * Names what a kernels binary was built from.
 * @module
 */

const here = new URL(".", import.meta.url);

/** The C sources and headers, sorted, as paths. */
export async function kernelSources(): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(new URL("src/", here))) {
    if (entry.isFile && /\.(c|h)$/.test(entry.name)) names.push(entry.name);
  }
  return names.sort().map((name) => new URL(`src/${name}`, here).pathname);
}

/** SHA-256, in hex, of every source and of the build script. */
export async function kernelSourceHash(): Promise<string> {
  const parts: string[] = [];
  for (const path of [...await kernelSources(), new URL("build.ts", here).pathname]) {
    parts.push(`${path.slice(path.lastIndexOf("/") + 1)}\n${await Deno.readTextFile(path)}`);
  }
  const bytes = new TextEncoder().encode(parts.join("\0"));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
