/**
 * The graph of a module. It is walked before any of its code runs, and each file is read once. The
 * child gets these bytes and never a path, so the checked bytes are the bytes that run.
 *
 * The child parses the sources, before it evaluates any. A source that crashes the parser crashes a
 * process that has no permissions.
 */
import { builtinText } from "./builtin_module.ts";
import { cleanLine, cleanText } from "../../clean_text.ts";
import { filePath, readLocalModule } from "./local_module.ts";
import type { ImportRequest, ModuleSource, Resolutions } from "../child/protocol.ts";
import type { RemoteModules } from "./remote_module.ts";

/** Thrown if a module may not be loaded. None of its code has run. */
export class RewardModuleError extends Error {
  override name = "RewardModuleError";
  /** What was refused, in plain words. */
  readonly refused: string[];
  /** The actual integrity of the graph if it did not match, else null. */
  readonly integrity: string | null;

  /** An error with the refused attempts and the actual integrity. */
  constructor(
    message: string,
    options: { refused?: string[]; integrity?: string; cause?: unknown } = {},
  ) {
    super(cleanText(message), { cause: options.cause });
    this.refused = (options.refused ?? []).map((line) => cleanLine(line, 800));
    this.integrity = options.integrity ?? null;
  }
}

const MAX_MODULES = 512;
const MAX_IMPORTS = 4096;
const MAX_BYTES = 64 << 20;
/** The folder that a module sees as its own unless it may read it: real paths reveal the user. */
const SHOWN_FOLDER = "file:///reward/";

/** What to load, and what it may reach. */
export interface GraphOptions {
  /** Its name in the config. */
  name: string;
  /** URL of the entry: `file:`, `https:`, loopback `http:`, `jsr:` or `npm:`. */
  entry: URL;
  /** The entry is one of this library's own rewards. */
  builtin: boolean;
  /** Whether an absolute path is granted for reading. */
  mayRead(path: string): boolean;
  /** Fetches remote modules; null if that is not granted. */
  remote: RemoteModules | null;
}

/** A module with everything it imports. */
export class ModuleGraph {
  /** URL of the entry module, as the child sees it. */
  entry = "";
  /** Every module, once, under the URLs that the child sees. */
  readonly sources: ModuleSource[] = [];
  /** The target of each import. */
  readonly resolutions: Resolutions = Object.create(null);
  /** Whether any module is remote. */
  hasRemote = false;
  #options: GraphOptions;
  /** URL of the module's own folder. */
  #folder = "";
  /** Whether it may read its own folder. It then sees its real URL and not a made-up one. */
  #showPaths = false;
  #known = new Set<string>();
  #bytes = 0;

  private constructor(options: GraphOptions) {
    this.#options = options;
  }

  /**
   * Reads a graph. `parse` takes modules and returns their imports.
   *
   * @throws {RewardModuleError} if an import is refused
   */
  static async walk(
    options: GraphOptions,
    parse: (modules: ModuleSource[]) => Promise<ImportRequest[]>,
  ): Promise<ModuleGraph> {
    const graph = new ModuleGraph(options);
    const entry = await graph.#readEntry().catch((error: Error) => {
      throw new RewardModuleError(`Cannot load reward module ${options.name}: ${error.message}`, {
        cause: error,
      });
    });
    graph.#folder = new URL("./", entry.url).href;
    graph.#showPaths = graph.#folder.startsWith("file:") && !options.builtin &&
      options.mayRead(filePath(new URL(graph.#folder)));
    graph.entry = graph.#shown(entry.url);
    let found = [graph.#add(entry)!];
    while (found.length > 0) {
      const requests = await parse(found);
      found = [];
      if (requests.length > MAX_IMPORTS) {
        throw new RewardModuleError(
          `Cannot load reward module ${options.name}: it has ${requests.length} imports`,
        );
      }
      for (const request of requests) {
        const source = await graph.#follow(request);
        if (source !== null) found.push(source);
      }
    }
    return graph;
  }

  /**
   * `sha256-…` over the names and bytes of all modules; it does not depend on their folder. If any
   * module is remote, what each import means counts too: a server could answer two addresses with each
   * other's module.
   */
  async integrity(): Promise<string> {
    const folder = this.#showPaths ? this.#folder : SHOWN_FOLDER;
    const short = (url: string): string => url.startsWith(folder) ? url.slice(folder.length) : url;
    const lines = await Promise.all(this.sources.map(async ({ url, kind, source }) => {
      const bytes = typeof source === "string" ? new TextEncoder().encode(source) : source;
      const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
      return `${short(url)} ${kind} ${new Uint8Array(digest).toHex()}\n`;
    }));
    if (this.hasRemote) {
      lines.push(`entry ${short(this.entry)}\n`);
      for (const [key, url] of Object.entries(this.resolutions)) {
        lines.push(`${JSON.stringify(key.split("\n").map(short))} is ${short(url)}\n`);
      }
    }
    const all = new TextEncoder().encode(lines.sort().join(""));
    const digest = await crypto.subtle.digest("SHA-256", all);
    return `sha256-${new Uint8Array(digest).toBase64()}`;
  }

  async #readEntry(): Promise<ModuleSource> {
    const { entry, builtin, remote } = this.#options;
    if (builtin) return { url: entry.href, kind: "typescript", source: await builtinText(entry) };
    if (entry.protocol === "file:") return await readLocalModule(entry, null, "");
    if (remote === null) throw new Error("it is remote");
    this.hasRemote = true;
    return await remote.read(entry.href, "", "");
  }

  #shown(url: string): string {
    const local = url.startsWith("file:") || this.#options.builtin;
    if (this.#showPaths || !local || !url.startsWith(this.#folder)) return url;
    return SHOWN_FOLDER + url.slice(this.#folder.length);
  }

  #real(shown: string): string {
    if (this.#showPaths || !shown.startsWith(SHOWN_FOLDER)) return shown;
    return this.#folder + shown.slice(SHOWN_FOLDER.length);
  }

  /** Adds the target of an import; null if it is already known or cannot be loaded. */
  async #follow(request: ImportRequest): Promise<ModuleSource | null> {
    const { from, specifier, type, dynamic } = request;
    try {
      const module = await this.#resolve(this.#real(from), specifier, type);
      this.resolutions[`${from}\n${specifier}\n${type}`] = this.#shown(module.url);
      return this.#add(module);
    } catch (error) {
      // A literal import() is refused only when the module executes it.
      if (dynamic) return null;
      const why = error instanceof Error ? error.message : String(error);
      const line = cleanLine(`tried to import ${cleanLine(specifier, 200)}: ${why}`, 800);
      throw new RewardModuleError(
        `Cannot load reward module ${this.#options.name}: it ${line}`,
        { refused: [line], cause: error },
      );
    }
  }

  #add(module: ModuleSource): ModuleSource | null {
    const shown = { ...module, url: this.#shown(module.url) };
    const key = `${shown.url}\n${shown.kind}`;
    if (this.#known.has(key)) return null;
    this.#known.add(key);
    this.#bytes += shown.source.length;
    if (this.sources.length >= MAX_MODULES || this.#bytes > MAX_BYTES) {
      throw new RewardModuleError(
        `Cannot load reward module ${this.#options.name}: it has more than ${MAX_MODULES} files or ${
          MAX_BYTES >> 20
        } MB`,
      );
    }
    this.sources.push(shown);
    return shown;
  }

  async #resolve(from: string, specifier: string, type: string): Promise<ModuleSource> {
    const { remote, builtin } = this.#options;
    if (!["", "json", "text", "bytes"].includes(type)) {
      throw new Error(`the import attribute type ${JSON.stringify(type)} is not supported`);
    }
    if (/^(jsr:\/?)?@nanovlm\/lab(@|\/|$)/.test(specifier)) {
      // Only types are imported from this package; at run time the module is empty.
      return { url: "nanovlm:lab", kind: "empty", source: "" };
    }
    const relative = /^\.{0,2}\//.test(specifier);
    if (builtin && relative) {
      const url = new URL(specifier, from);
      return { url: url.href, kind: "typescript", source: await builtinText(url) };
    }
    if (relative || /^file:/i.test(specifier)) {
      const url = new URL(specifier, from);
      if (url.protocol === "file:") {
        if (!from.startsWith("file:")) throw new Error("a remote module cannot import local files");
        const module = await readLocalModule(url, new URL(this.#folder), type);
        this.#refuseRaw(type, filePath(new URL(module.url)));
        return module;
      }
      specifier = url.href;
    }
    if (/^(https?|jsr|npm):/.test(specifier) || remote?.mapsBare(from)) {
      if (remote === null) {
        throw new Error(
          "it is remote; state the `integrity` of the module's whole graph to allow it",
        );
      }
      this.#refuseRaw(type, null);
      this.hasRemote = true;
      return await remote.read(specifier, type, from);
    }
    if (/^[a-z][a-z+.-]*:/i.test(specifier)) {
      throw new Error("modules of this kind are not given to reward modules");
    }
    throw new Error(
      "a bare name has no meaning here; import by a relative path in the module's own folder",
    );
  }

  /** To import a file as text or bytes is to read a file, which needs a grant for this file. */
  #refuseRaw(type: string, path: string | null): void {
    if (type !== "text" && type !== "bytes") return;
    if (path === null) throw new Error(`a remote file cannot be imported as ${type}`);
    if (!this.#options.mayRead(path)) {
      throw new Error(
        `files as ${type} are not part of a module; grant ${path} with \`allow_read\` if it must`,
      );
    }
  }
}
