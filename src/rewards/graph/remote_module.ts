// deno-lint-ignore-file nanovlm/error-start -- reasons, which the text of a caller takes in
/** Fetches the remote parts of a module graph, once, into a cache folder. */
import type { Fetched } from "./fetched.ts";
import { moduleSource } from "./local_module.ts";
import { RemotePackages } from "./remote_package.ts";
import type { ModuleSource } from "../child/protocol.ts";

const MAX_FILE_BYTES = 16 << 20;
const TIMEOUT_MS = 30_000;
const LOOPBACK = /^(127(\.\d+){3}|localhost|\[::1\])$/;

/**
 * Reads `https:`, `jsr:` and `npm:` modules. Plain `http:` is read from this machine alone, and only
 * for a module that is itself here: what comes over the internet cannot make the host call in.
 */
export class RemoteModules {
  /** Whether anything came out of the cache. */
  usedCache = false;
  readonly #folder: string | undefined;
  readonly #useCache: boolean;
  readonly #mayCallHere: boolean;
  readonly #fetched = new Map<string, Promise<Fetched>>();
  readonly #packages: RemotePackages;

  /** `entry` is the graph's entry; without `useCache` everything is fetched again. */
  constructor(cacheDir: string | undefined, entry: URL, useCache: boolean) {
    this.#folder = cacheDir ?? defaultCacheDir();
    this.#useCache = useCache;
    this.#mayCallHere = entry.protocol === "file:" ||
      (entry.protocol === "http:" && LOOPBACK.test(entry.hostname));
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
      return await this.#module(await this.#fetch(specifier, true), type);
    }
    // Files of a package that came from the user's own registry come from there too.
    const registry = `${this.#packages.jsrRegistry}/`;
    const configured = specifier.startsWith(registry) && from.startsWith(registry);
    return await this.#module(await this.#fetch(specifier, configured), type);
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
      fetching = this.#cached(url).then((found) => found ?? this.#get(new URL(url), configured));
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

  /** `configured`: the user's own registry, which may be anywhere. */
  async #get(url: URL, configured: boolean, redirects = 0): Promise<Fetched> {
    const here = url.protocol === "http:" && LOOPBACK.test(url.hostname) && this.#mayCallHere;
    if (url.protocol !== "https:" && !here && !configured) {
      throw new Error("remote modules come over https");
    }
    const response = await fetch(url, {
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: { accept: "*/*" },
    });
    const location = response.headers.get("location");
    if (response.status >= 300 && response.status < 400 && location !== null) {
      await response.body?.cancel();
      if (redirects >= 5) throw new Error("it redirects more than five times");
      return await this.#get(new URL(location, url), configured, redirects + 1);
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`${url.href} answered ${response.status}`);
    }
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      if (length > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES >> 20} MB`);
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
