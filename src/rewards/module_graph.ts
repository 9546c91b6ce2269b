/**
 * The graph of a module: walked before anything of it runs, from bytes that are read once. What
 * was checked is what runs, since the child gets these bytes and never a path.
 *
 * Who parses: a child, before it evaluates anything. A source that breaks the parser breaks a
 * process without rights.
 */
import { readLocalModule } from "./local_module.ts";
import type { ImportRequest, ModuleKind, ModuleSource, Resolutions } from "./protocol.ts";
import { RemoteModules } from "./remote_module.ts";

/** Thrown where a module may not be loaded; the run has not evaluated any of it. */
export class RewardModuleError extends Error {
  override name = "RewardModuleError";
  /** What was refused, in plain words. */
  readonly refused: string[];
  /** The integrity line of the graph as it is, where that was the trouble. */
  readonly integrity: string | null;

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
const MAX_BYTES = 64 << 20;

/** A module's place: where it came from, and what it may reach. */
export interface GraphOptions {
  /** How the config names it. */
  name: string;
  /** URL of the entry: `file:`, `https:`, or loopback `http:`. */
  entry: URL;
  /** Source of the entry where it is not to be read from there (built-in modules). */
  source?: string;
  /** Whether remote modules may be fetched: the config states an integrity, or it is asked for. */
  remote: RemoteModules | null;
}

/** A module with everything it imports. */
export class ModuleGraph {
  /** URL of the entry module. */
  entry = "";
  /** Every module, once. */
  readonly sources: ModuleSource[] = [];
  /** What each import means. */
  readonly resolutions: Resolutions = {};
  /** Whether any module came from elsewhere. */
  hasRemote = false;
  #options: GraphOptions;
  #folder = "";
  #known = new Set<string>();
  #bytes = 0;

  private constructor(options: GraphOptions) {
    this.#options = options;
  }

  /**
   * Reads a graph. `parse` takes modules and tells their imports (see {@linkcode SandboxChild}).
   *
   * @throws RewardModuleError where an import is refused
   */
  static async walk(
    options: GraphOptions,
    parse: (modules: ModuleSource[]) => Promise<ImportRequest[]>,
  ): Promise<ModuleGraph> {
    const graph = new ModuleGraph(options);
    let found = [await graph.#entry()];
    while (found.length > 0) {
      const requests = await parse(found);
      found = [];
      for (const request of requests) {
        const source = await graph.#follow(request);
        if (source !== null) found.push(source);
      }
    }
    return graph;
  }

  /** `sha256-…` over the names and bytes of all modules, however they are ordered. */
  async integrity(): Promise<string> {
    const lines = await Promise.all(this.sources.map(async ({ url, kind, source }) => {
      const bytes = typeof source === "string" ? new TextEncoder().encode(source) : source;
      const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
      const name = url.startsWith(this.#folder) ? url.slice(this.#folder.length) : url;
      return `${name} ${kind} ${new Uint8Array(digest).toHex()}\n`;
    }));
    const all = new TextEncoder().encode(lines.sort().join(""));
    const digest = await crypto.subtle.digest("SHA-256", all);
    return `sha256-${new Uint8Array(digest).toBase64()}`;
  }

  async #entry(): Promise<ModuleSource> {
    const { entry, source, remote, name } = this.#options;
    if (source !== undefined) {
      this.entry = entry.href;
      return this.#add({ url: this.entry, kind: scriptKind(entry.pathname), source })!;
    }
    if (entry.protocol === "file:") {
      const module = await readLocalModule(entry, null, "").catch((error: Error) => {
        throw new RewardModuleError(`Cannot load reward module ${name}: ${error.message}`);
      });
      this.#folder = new URL("./", module.url).href;
      this.entry = module.url;
      return this.#add(module)!;
    }
    if (remote === null) throw new Error("a remote module needs a fetcher");
    this.hasRemote = true;
    const module = await remote.read(entry.href, "", "").catch((error: Error) => {
      throw new RewardModuleError(`Cannot load reward module ${name}: ${error.message}`);
    });
    this.entry = module.url;
    this.#folder = new URL("./", module.url).href;
    return this.#add(module)!;
  }

  /** Adds the module that an import means; null where it is there already, or not to be had. */
  async #follow(request: ImportRequest): Promise<ModuleSource | null> {
    try {
      const module = await this.#resolve(request);
      this.resolutions[`${request.from}\n${request.specifier}\n${request.type}`] = module.url;
      return this.#add(module);
    } catch (error) {
      // A literal import() is refused when the module gets there, if it ever does.
      if (request.dynamic) return null;
      const why = error instanceof Error ? error.message : String(error);
      const line = `tried to import ${request.specifier.slice(0, 300)}: ${why}`;
      throw new RewardModuleError(
        `Cannot load reward module ${this.#options.name}: it ${line}`,
        { refused: [line], cause: error },
      );
    }
  }

  #add(module: ModuleSource): ModuleSource | null {
    const key = `${module.url}\n${module.kind}`;
    if (this.#known.has(key)) return null;
    this.#known.add(key);
    this.#bytes += module.source.length;
    if (this.sources.length >= MAX_MODULES || this.#bytes > MAX_BYTES) {
      throw new RewardModuleError(
        `Cannot load reward module ${this.#options.name}: it has more than ${MAX_MODULES} files or ${
          MAX_BYTES >> 20
        } MB`,
      );
    }
    this.sources.push(module);
    return module;
  }

  async #resolve({ from, specifier, type }: ImportRequest): Promise<ModuleSource> {
    if (!["", "json", "text", "bytes"].includes(type)) {
      throw new Error(`the import attribute type ${JSON.stringify(type)} is not supported`);
    }
    if (/^(jsr:)?@nanovlm\/lab(@|\/|$)/.test(specifier)) {
      // Types alone come from there; at run time it is empty.
      return { url: "nanovlm:lab", kind: "empty", source: "" };
    }
    if (/^(node|data|blob|bun|cloudflare|ext|checkin):/.test(specifier)) {
      throw new Error("modules of this kind are not given to reward modules");
    }
    const packaged = /^(jsr|npm):/.test(specifier);
    if (!packaged && !/^(\.{0,2}\/|file:|https?:)/.test(specifier)) {
      const { remote } = this.#options;
      if (remote !== null && remote.mapsBare(from)) {
        this.hasRemote = true;
        return await remote.read(specifier, type, from);
      }
      throw new Error(
        "bare names mean nothing here; import by a relative path in the module's own folder, or by a full specifier with `integrity`",
      );
    }
    const url = packaged ? new URL(specifier) : new URL(specifier, from);
    if (url.protocol === "file:") {
      if (!from.startsWith("file:")) throw new Error("a remote module cannot import local files");
      return await readLocalModule(url, new URL(this.#folder), type);
    }
    const { remote } = this.#options;
    if (remote === null) {
      throw new Error(
        "it is remote; state the `integrity` of the module's whole graph to allow it",
      );
    }
    this.hasRemote = true;
    return await remote.read(packaged ? specifier : url.href, type, from);
  }
}

/** How a script is to be read, by its path. */
export function scriptKind(path: string): ModuleKind {
  return /\.(m?js)$/i.test(path) ? "javascript" : "typescript";
}
