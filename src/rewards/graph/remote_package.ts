/** Finds the files of `jsr:` and `npm:` packages, and runs none of their code. */
import type { Fetched } from "./fetched.ts";
import { newestMatch } from "./version_range.ts";

/** Reads registries through the given fetch. */
export class RemotePackages {
  readonly #fetch: (url: string) => Promise<Fetched>;
  readonly #packages = new Map<string, Promise<Map<string, Uint8Array<ArrayBuffer>>>>();

  /** `fetch` keeps what it fetched. */
  constructor(fetch: (url: string) => Promise<Fetched>) {
    this.#fetch = fetch;
  }

  /** Where `jsr:` packages come from, without a slash at its end. */
  get jsrRegistry(): string {
    return (setting("JSR_URL") ?? "https://jsr.io").replace(/\/$/, "");
  }

  /** URL of the module that a `jsr:` specifier names. */
  async jsr(specifier: string): Promise<string> {
    const [, name, range, path] =
      /^jsr:\/?(@[\w-]+\/[\w-]+)(?:@([^/]+))?(\/.*)?$/.exec(specifier) ?? [];
    if (name === undefined) throw new Error("want jsr:@scope/name@version");
    const base = `${this.jsrRegistry}/${name}`;
    const { versions } = await this.#json(`${base}/meta.json`) as { versions: object };
    const version = plainVersion(name, newestMatch(Object.keys(versions), range), range);
    const meta = await this.#json(`${base}/${version}_meta.json`) as {
      exports: Record<string, string>;
    };
    const key = `.${path ?? ""}`;
    const file = Object.hasOwn(meta.exports, key) ? meta.exports[key] : undefined;
    if (file === undefined) throw new Error(`${name} exports no ${path ?? "main module"}`);
    const folder = `${base}/${version}/`;
    const url = new URL(file, folder).href;
    if (!url.startsWith(folder)) throw new Error(`${name} exports a file outside of the package`);
    return url;
  }

  /** File of an `npm:` specifier, of a dependency of `from`, or of a path within a package. */
  async npm(
    specifier: string,
    from: string,
  ): Promise<{ url: string; bytes: Uint8Array<ArrayBuffer> }> {
    const inside = /^npm:\/((?:@[^/]+\/)?[^/@]+)@([^/]+)\/(.+)$/.exec(specifier);
    if (inside !== null) {
      const [url, name, version, path] = inside;
      const files = await this.#package(name, version);
      const bytes = files.get(path);
      if (bytes === undefined) throw new Error(`${name} has no file ${path}`);
      return { url, bytes };
    }
    const [, name, stated, path] =
      /^(?:npm:)?((?:@[\w.-]+\/)?[\w.-]+)(?:@([^/]+))?(\/.*)?$/.exec(specifier) ?? [];
    if (name === undefined) throw new Error("want npm:name@version");
    const range = specifier.startsWith("npm:") ? stated : await this.#dependency(name, from);
    const listed = await this.#json(
      `${npmRegistry()}/${name.replace("/", "%2f")}`,
    ) as { versions: object };
    const version = plainVersion(name, newestMatch(Object.keys(listed.versions), range), range);
    const files = await this.#package(name, version);
    const manifest = manifestOf(files);
    const file = exportedFile(manifest, `.${path ?? ""}`)?.replace(/^\.\//, "");
    const bytes = file === undefined ? undefined : files.get(file);
    if (file === undefined || bytes === undefined) {
      throw new Error(`${name}@${version} exports no ${path ?? "main module"}`);
    }
    if (!/\.mjs$/.test(file) && manifest.type !== "module" && manifest.module === undefined) {
      throw new Error(`${name}@${version} is CommonJS; reward modules are ES modules`);
    }
    return { url: `npm:/${name}@${version}/${file}`, bytes };
  }

  async #dependency(name: string, from: string): Promise<string> {
    const [, parent, version] = /^npm:\/((?:@[^/]+\/)?[^/@]+)@([^/]+)\//.exec(from) ?? [];
    if (parent === undefined) throw new Error("a bare name has no meaning here");
    const { dependencies } = manifestOf(await this.#package(parent, version));
    const range = dependencies && Object.hasOwn(dependencies, name) ? dependencies[name] : null;
    if (typeof range !== "string") throw new Error(`${parent} does not depend on ${name}`);
    return range;
  }

  async #package(name: string, version: string): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
    const key = `${name}@${version}`;
    let files = this.#packages.get(key);
    if (files === undefined) {
      files = this.#unpack(name, version);
      this.#packages.set(key, files);
    }
    return await files;
  }

  async #unpack(name: string, version: string): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
    const file = `${name.replace(/^@[^/]+\//, "")}-${version}.tgz`;
    const { bytes } = await this.#fetch(`${npmRegistry()}/${name}/-/${file}`);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return untar(await readBounded(stream, MAX_UNPACKED_BYTES));
  }

  async #json(url: string): Promise<unknown> {
    return JSON.parse(new TextDecoder().decode((await this.#fetch(url)).bytes));
  }
}

/**
 * The npm registry's address without a slash at its end: NPM_CONFIG_REGISTRY, else the one that
 * Deno fetched our own dependencies from, by whose host it files them in its cache.
 *
 * @throws {Error} if neither tells
 */
function npmRegistry(): string {
  const set = setting("NPM_CONFIG_REGISTRY");
  if (set !== undefined) return set.replace(/\/$/, "");
  const host = /\/npm\/([\w-]+(?:\.[\w-]+)+)\//.exec(import.meta.resolve("yaml"))?.[1];
  if (host !== undefined) return `https://${host}`;
  throw new Error("the npm registry is not known; set NPM_CONFIG_REGISTRY to its address");
}

/** Bytes of an unpacked package. */
const MAX_UNPACKED_BYTES = 64 << 20;

/** A version as part of an address. @throws {Error} if there is none, or it is no version */
function plainVersion(
  name: string,
  version: string | undefined,
  range: string | undefined,
): string {
  if (version === undefined) throw new Error(`${name} has no version ${range}`);
  if (!/^[\w.+-]+$/.test(version)) throw new Error(`${name} has a version that is no version`);
  return version;
}

/** All bytes of a stream. @throws {Error} if it has more than `most` */
async function readBounded(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  most: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > most) throw new Error(`the package unpacks to more than ${most >> 20} MB`);
    chunks.push(chunk);
  }
  return await new Blob(chunks).bytes();
}

interface Manifest {
  type?: string;
  main?: string;
  module?: string;
  exports?: unknown;
  dependencies?: Record<string, string>;
}

function manifestOf(files: Map<string, Uint8Array>): Manifest {
  const bytes = files.get("package.json");
  if (bytes === undefined) throw new Error("the package has no package.json");
  return JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
}

/** The file that a package exports under a path, by the conditions that fit here. */
function exportedFile(manifest: Manifest, path: string): string | undefined {
  const choose = (target: unknown): string | undefined => {
    if (typeof target === "string") return target;
    if (typeof target !== "object" || target === null) return undefined;
    for (const [condition, inner] of Object.entries(target)) {
      if (!["deno", "import", "module", "browser", "default"].includes(condition)) continue;
      const found = choose(inner);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const { exports } = manifest;
  if (exports === undefined) {
    return path === "." ? manifest.module ?? manifest.main ?? "index.js" : path;
  }
  const paths = typeof exports === "object" && exports !== null &&
      Object.keys(exports).some((key) => key.startsWith("."))
    ? exports as Record<string, unknown>
    : { ".": exports };
  if (paths[path] !== undefined) return choose(paths[path]);
  for (const [pattern, target] of Object.entries(paths)) {
    const [before, after] = pattern.split("*");
    if (after === undefined || !path.startsWith(before) || !path.endsWith(after)) continue;
    return choose(target)?.replace("*", path.slice(before.length, path.length - after.length));
  }
  return undefined;
}

/** Files of a tar archive, without their first folder. */
function untar(bytes: Uint8Array<ArrayBuffer>): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const text = (from: number, length: number): string =>
    new TextDecoder().decode(bytes.subarray(from, from + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0;) {
    const prefix = text(at + 345, 155);
    const name = (prefix === "" ? "" : `${prefix}/`) + text(at, 100);
    const size = parseInt(text(at + 124, 12), 8) || 0;
    const kind = String.fromCharCode(bytes[at + 156]);
    if (kind === "0" || kind === "\0") {
      files.set(name.replace(/^[^/]+\//, ""), bytes.slice(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

function setting(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) || undefined : undefined;
}
