/**
 * The graph of a module: walked before anything of it runs, from bytes that are read once. What
 * was checked is what runs, since the child gets these bytes and never a path.
 *
 * Who parses: a child, before it evaluates anything. A source that breaks the parser breaks a
 * process without rights.
 */
import { builtinText } from "./builtin_module.ts";
import { readLocalModule } from "./local_module.ts";
import type { ImportRequest, ModuleSource, Resolutions } from "../child/protocol.ts";
import type { RemoteModules } from "./remote_module.ts";

/** Thrown where a module may not be loaded; the run has not evaluated any of it. */
export class RewardModuleError extends Error {
  override name = "RewardModuleError";
  /** What was refused, in plain words. */
  readonly refused: string[];
  /** The integrity line of the graph as it is, where that was the trouble. */
  readonly integrity: string | null;

  /** An error with what was refused, and the integrity that was found. */
  constructor(
    message: string,
    options: { refused?: string[]; integrity?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.refused = options.refused ?? [];
    this.integrity = options.integrity ?? null;
  }
}

const MAX_MODULES = 512;
const MAX_IMPORTS = 4096;
const MAX_BYTES = 64 << 20;
/** What a module sees as its own folder, unless it may read files: paths tell who the user is. */
const SHOWN_FOLDER = "file:///reward/";

/** A module's place: where it came from, and what it may reach. */
export interface GraphOptions {
  /** How the config names it. */
  name: string;
  /** URL of the entry: `file:`, `https:`, loopback `http:`, `jsr:` or `npm:`. */
  entry: URL;
  /** The entry is one of this library's own rewards, wherever the library came from. */
  builtin: boolean;
  /** Whether it may read files, and so sees its true URL and not a made-up one. */
  showPaths: boolean;
  /** Fetches remote modules; null where that is not granted. */
  remote: RemoteModules | null;
}

/** A module with everything it imports. */
export class ModuleGraph {
  /** URL of the entry module, as the child sees it. */
  entry = "";
  /** Every module, once, under the URLs that the child sees. */
  readonly sources: ModuleSource[] = [];
  /** What each import means. */
  readonly resolutions: Resolutions = {};
  /** Whether any module came from elsewhere. */
  hasRemote = false;
  #options: GraphOptions;
  /** The module's own folder, as it is. */
  #folder = "";
  #known = new Set<string>();
  #bytes = 0;

  private constructor(options: GraphOptions) {
    this.#options = options;
  }

  /**
   * Reads a graph. `parse` takes modules and tells their imports.
   *
   * @throws RewardModuleError where an import is refused
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
    graph.#folder = new URL("../", entry.url).href;
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

  /** `sha256-…` over the names and bytes of all modules, wherever they lie. */
  async integrity(): Promise<string> {
    const lines = await Promise.all(this.sources.map(async ({ url, kind, source }) => {
      const bytes = typeof source === "string" ? new TextEncoder().encode(source) : source;
      const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
      const folder = this.#options.showPaths ? this.#folder : SHOWN_FOLDER;
      const name = url.startsWith(folder) ? url.slice(folder.length) : url;
      return `${name} ${kind} ${new Uint8Array(digest).toHex()}\n`;
    }));
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
    if (this.#options.showPaths || !local || !url.startsWith(this.#folder)) return url;
    return SHOWN_FOLDER + url.slice(this.#folder.length);
  }

  #real(shown: string): string {
    if (this.#options.showPaths || !shown.startsWith(SHOWN_FOLDER)) return shown;
    return this.#folder + shown.slice(SHOWN_FOLDER.length);
  }

  /** Adds the module that an import means; null where it is there already, or not to be had. */
  async #follow(request: ImportRequest): Promise<ModuleSource | null> {
    const { from, specifier, type, dynamic } = request;
    try {
      const module = await this.#resolve(this.#real(from), specifier, type);
      this.resolutions[`${from}\n${specifier}\n${type}`] = this.#shown(module.url);
      return this.#add(module);
    } catch (error) {
      // A literal import() is refused when the module gets there, if it ever does.
      if (dynamic) return null;
      const why = error instanceof Error ? error.message : String(error);
      const line = `tried to import ${specifier.slice(0, 300)}: ${why}`;
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
      // Types alone come from there; at run time it is empty.
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
        this.#refuseRaw(type);
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
      this.#refuseRaw(type);
      this.hasRemote = true;
      return await remote.read(specifier, type, from);
    }
    if (/^[a-z][a-z+.-]*:/i.test(specifier)) {
      throw new Error("modules of this kind are not given to reward modules");
    }
    throw new Error(
      "bare names mean nothing here; import by a relative path in the module's own folder",
    );
  }

  /** A file as text or bytes is no module: importing one is reading a file. */
  #refuseRaw(type: string): void {
    if ((type === "text" || type === "bytes") && !this.#options.showPaths) {
      throw new Error(`files as ${type} are not part of a module; add \`allow_read\` if it must`);
    }
  }
}
