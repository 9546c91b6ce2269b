/** Fetches the remote parts of a module graph, once, into a cache folder. */
import { isLoopback, refusePrivateHost } from "./address_rules.ts";
import type { Fetched } from "./fetched.ts";
import { moduleSource } from "./local_module.ts";
import { RemotePackages } from "./remote_package.ts";
import type { ModuleSource } from "../child/protocol.ts";

const MAX_FILE_BYTES = 16 << 20;
/** Time limit of one request, and of all requests of a graph, in milliseconds. */
const TIMEOUT_MS = 30_000, GRAPH_TIMEOUT_MS = 60_000;
/** Bytes and requests of a graph, registries included. */
const MAX_GRAPH_BYTES = 256 << 20, MAX_REQUESTS = 1024;

/**
 * Reads `https:`, `jsr:` and `npm:` modules. Plain `http:` is read from this machine alone, and only
 * if the user named its address: what comes over the network cannot make the host call this machine,
 * nor a private network.
 */
export class RemoteModules {
  /** Whether anything came out of the cache. */
  usedCache = false;
  readonly #folder: string | undefined;
  readonly #useCache: boolean;
  /** Origins that the user named: in the config, in a file of their own, or as a registry. */
  readonly #named = new Set<string>();
  /** When all of the graph must be there, by `performance.now()`. */
  readonly #deadline: number;
  #bytes = 0;
  #requests = 0;
  readonly #fetched = new Map<string, Promise<Fetched>>();
  readonly #packages: RemotePackages;

  /** `entry` is the graph's entry; without `useCache` everything is fetched again. */
  constructor(
    cacheDir: string | undefined,
    entry: URL,
    useCache: boolean,
    timeoutMs = GRAPH_TIMEOUT_MS,
  ) {
    this.#folder = cacheDir ?? defaultCacheDir();
    this.#useCache = useCache;
    this.#deadline = performance.now() + timeoutMs;
    if (/^https?:$/.test(entry.protocol)) this.#named.add(entry.origin);
    this.#packages = new RemotePackages((url) => this.#fetch(url, true));
  }

  /** Whether bare names in this module are dependencies of its package. */
  mapsBare(from: string): boolean {
    return from.startsWith("npm:");
  }

  /** One module. @throws {Error} if it may not or cannot be had. */
  async read(specifier: string, type: string, from: string): Promise<ModuleSource> {
    if (specifier.startsWith("npm:") || this.mapsBare(from)) {
      const { url, bytes } = await this.#packages.npm(specifier, from);
      return moduleSource(url, type, bytes);
    }
    if (specifier.startsWith("jsr:")) {
      specifier = await this.#packages.jsr(specifier);
      return this.#module(await this.#fetch(specifier, true), type);
    }
    // What a file of the user names, the user names.
    if (from.startsWith("file:")) this.#named.add(new URL(specifier).origin);
    // Files of a package that came from the user's own registry come from there too.
    const registry = `${this.#packages.jsrRegistry}/`;
    const configured = specifier.startsWith(registry) && from.startsWith(registry);
    return this.#module(await this.#fetch(specifier, configured), type);
  }

  /** Writes what was fetched to the cache folder, now that its integrity is known to hold. */
  async keep(): Promise<void> {
    if (this.#folder === undefined) return;
    try {
      await Deno.mkdir(this.#folder, { recursive: true });
      for (const [asked, fetching] of this.#fetched) {
        const path = await cachePath(this.#folder, asked);
        const { bytes, ...head } = await fetching;
        const line = new TextEncoder().encode(`${JSON.stringify(head)}\n`);
        const partial = `${path}.${crypto.randomUUID()}.tmp`;
        await Deno.writeFile(partial, new Blob([line, bytes]).stream());
        await Deno.rename(partial, path);
      }
    } catch {
      // Without a cache the modules are fetched at each start.
    }
  }

  #module({ url, contentType, bytes }: Fetched, type: string): ModuleSource {
    const script = /\b(?:java|ecma)script\b/.test(contentType)
      ? "javascript"
      : /\btypescript\b|video\/mp2t/.test(contentType)
      ? "typescript"
      : undefined;
    return moduleSource(url, type, bytes, script);
  }

  #fetch(url: string, configured: boolean): Promise<Fetched> {
    let fetching = this.#fetched.get(url);
    if (fetching === undefined) {
      fetching = this.#cached(url).then((found) =>
        found ?? this.#get(new URL(url), configured ? new URL(url).origin : null)
      );
      this.#fetched.set(url, fetching);
    }
    return fetching;
  }

  async #cached(url: string): Promise<Fetched | null> {
    if (!this.#useCache || this.#folder === undefined) return null;
    try {
      const all = await Deno.readFile(await cachePath(this.#folder, url));
      const end = all.indexOf(10);
      const head = JSON.parse(new TextDecoder().decode(all.subarray(0, end)));
      this.usedCache = true;
      return {
        url: String(head.url),
        contentType: String(head.contentType),
        bytes: all.slice(end + 1),
      };
    } catch {
      return null;
    }
  }

  /** @throws {Error} if the host may not be called for a module that came over the network */
  async #refuseAddress(url: URL, registry: string | null): Promise<void> {
    const web = url.protocol === "https:" || url.protocol === "http:";
    if (web && url.origin === registry) return;
    const here = url.protocol === "http:" && isLoopback(url.hostname);
    if (url.protocol !== "https:" && !(here && this.#named.has(url.origin))) {
      throw new Error("remote modules come over https");
    }
    if (!this.#named.has(url.origin)) await refusePrivateHost(url.hostname);
  }

  /** `registry` is the origin of the user's own registry, which may be anywhere. */
  async #get(url: URL, registry: string | null, redirects = 0): Promise<Fetched> {
    await this.#refuseAddress(url, registry);
    if (++this.#requests > MAX_REQUESTS) throw new Error(`it needs over ${MAX_REQUESTS} requests`);
    const leftMs = Math.floor(this.#deadline - performance.now());
    if (leftMs <= 0) throw new Error("fetching it and what it imports takes too long");
    const response = await fetch(url, {
      redirect: "manual",
      signal: AbortSignal.timeout(Math.min(TIMEOUT_MS, leftMs)),
      headers: { accept: "*/*" },
    });
    const location = response.headers.get("location");
    if (response.status >= 300 && response.status < 400 && location !== null) {
      await response.body?.cancel();
      if (redirects >= 5) throw new Error("it redirects more than five times");
      return await this.#get(new URL(location, url), registry, redirects + 1);
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`${url.href} answered ${response.status}`);
    }
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      this.#bytes += chunk.length;
      if (length > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES >> 20} MB`);
      if (this.#bytes > MAX_GRAPH_BYTES) {
        throw new Error(`it and what it imports have more than ${MAX_GRAPH_BYTES >> 20} MB`);
      }
      chunks.push(chunk);
    }
    return {
      url: url.href,
      contentType: response.headers.get("content-type") ?? "",
      bytes: await new Blob(chunks).bytes(),
    };
  }
}

async function cachePath(folder: string, url: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return `${folder}/${new Uint8Array(digest).toHex()}`;
}

/** Cache folder of remote modules; undefined if the environment may not be read. */
function defaultCacheDir(): string | undefined {
  const env = (name: string): string | undefined => {
    const { state } = Deno.permissions.querySync({ name: "env", variable: name });
    return state === "granted" ? Deno.env.get(name) : undefined;
  };
  const home = env("HOME");
  const roots: Partial<Record<typeof Deno.build.os, string | undefined>> = {
    windows: env("LOCALAPPDATA"),
    darwin: home && `${home}/Library/Caches`,
  };
  const root = roots[Deno.build.os] ?? env("XDG_CACHE_HOME") ?? (home && `${home}/.cache`);
  return root && `${root}/nanovlm-lab/rewards`;
}
