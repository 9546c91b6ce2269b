/** Reads one local file of a module graph. It must lie in the module's own folder. */
import type { ModuleKind, ModuleSource } from "../child/protocol.ts";

const MAX_FILE_BYTES = 16 << 20;

/** Path of a `file:` URL. @throws {TypeError} if it names another machine. */
export function filePath(url: URL): string {
  if (url.hostname !== "" && url.hostname !== "localhost") {
    throw new TypeError(`it lies on another machine (${url.hostname})`);
  }
  const path = decodeURIComponent(url.pathname);
  if (path.includes("\0")) throw new TypeError("its path has a zero byte");
  return Deno.build.os === "windows"
    ? path.replace(/^\/+(?=[A-Za-z]:)/, "").replaceAll("/", "\\")
    : path;
}

/** `file:` URL of an absolute path. */
export function fileUrl(path: string): URL {
  const url = new URL("file:///");
  const parts = path.replaceAll("%", "%25").replaceAll("?", "%3F").replaceAll("#", "%23");
  url.pathname = Deno.build.os === "windows"
    ? parts.replaceAll("\\", "/")
    : parts.replaceAll("\\", "%5C");
  return url;
}

/**
 * Reads a file once and returns its real URL: a symbolic link counts as its target.
 *
 * `folder` is the module's own folder, with a slash at its end; null for the entry itself.
 * `type` is the import attribute.
 *
 * @throws {Error} if it lies outside, is hidden, is not a regular file, or is not of that type
 */
export async function readLocalModule(
  url: URL,
  folder: URL | null,
  type: string,
): Promise<ModuleSource> {
  const path = filePath(url);
  const outside = (): Error =>
    new Error(
      `it lies outside the module's own folder${
        folder === null ? "" : ` ${filePath(folder)}`
      }; move it there, or read it with \`allow_read\``,
    );
  if (folder !== null && !url.href.startsWith(folder.href)) throw outside();
  let real: string;
  let before: Deno.FileInfo;
  try {
    real = await Deno.realPath(path);
    before = await Deno.lstat(real);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new Error(`there is no file ${path}`);
    throw error;
  }
  const realUrl = fileUrl(real);
  if (folder !== null) {
    if (!realUrl.href.startsWith(folder.href)) throw outside();
    const inner = realUrl.href.slice(folder.href.length);
    if (inner.split("/").some((part) => part.startsWith("."))) {
      throw new Error("hidden files are not part of a module");
    }
  }
  if (!before.isFile) throw new Error(`${path} is not a regular file`);
  if (before.size > MAX_FILE_BYTES) {
    throw new Error(`${path} has ${before.size} bytes: more than ${MAX_FILE_BYTES >> 20} MB`);
  }
  using file = await Deno.open(real, { read: true });
  const opened = await file.stat();
  // The file may have been replaced between the check and the opening.
  if (!opened.isFile || opened.ino !== before.ino || opened.dev !== before.dev) {
    throw new Error(`${path} was replaced while it was read`);
  }
  const bytes = new Uint8Array(opened.size + 1);
  let length = 0;
  for (let n; length < bytes.length && (n = await file.read(bytes.subarray(length))) !== null;) {
    length += n;
  }
  if (length !== opened.size) throw new Error(`${path} changed while it was read`);
  return moduleSource(realUrl.href, type, bytes.slice(0, length));
}

/**
 * A module of these bytes. `script` is the kind of a script whose path has no known extension.
 *
 * @throws {Error} if they are not of the type that the import states
 */
export function moduleSource(
  url: string,
  type: string,
  bytes: Uint8Array,
  script?: ModuleKind,
): ModuleSource {
  if (type === "bytes") return { url, kind: "bytes", source: bytes };
  const text = new TextDecoder("utf-8").decode(bytes);
  if (type === "text") return { url, kind: "text", source: text };
  const extension = /\.([A-Za-z0-9]+)$/.exec(new URL(url).pathname)?.[1].toLowerCase() ?? "";
  if (type === "json" || extension === "json") {
    if (type !== "json") throw new Error('a JSON file is imported `with { type: "json" }`');
    try {
      JSON.parse(text);
    } catch {
      throw new Error("it is not JSON");
    }
    return { url, kind: "json", source: text };
  }
  const kinds: Record<string, ModuleKind> = {
    ts: "typescript",
    mts: "typescript",
    js: "javascript",
    mjs: "javascript",
  };
  const kind = kinds[extension] ?? script;
  if (kind === undefined) throw new Error("it is not a .ts, .mts, .js or .mjs module");
  return { url, kind, source: text };
}
