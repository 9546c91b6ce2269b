/**
 * Loads the files of a model, keeps them in the browser's cache and checks them. A file that arrived
 * whole is not fetched again: loading goes on where it was cut off, and works offline once all files
 * have arrived.
 *
 * @module
 */
import { checkManifest, SiteError, type SiteManifest, type SitePart } from "../site_manifest.ts";
import type { LoadProgress } from "../web_api.ts";

/** Name of the cache; entries have the address of the file and its SHA-256. */
const CACHE = "nanovlm-models";

/** How often a file is asked for if the network fails, and how long to wait in between. */
const ATTEMPTS = 4;
const WAIT_MS = 500;

/** Choices of {@linkcode PartLoader.open}. */
export interface PartLoaderOptions {
  /** Address of the folder. */
  readonly folder: URL;
  /** Whether files are kept. */
  readonly keep: boolean;
  readonly onProgress: (progress: LoadProgress) => void;
  readonly signal: AbortSignal;
}

/** The cache; null if the page may not have one: it is not a secure context, or it is private. */
async function openCache(): Promise<Cache | null> {
  if (typeof caches === "undefined") return null;
  try {
    return await caches.open(CACHE);
  } catch {
    return null;
  }
}

/** Whether bytes are those of the manifest. Without a secure context only their number is checked. */
async function isWhole(bytes: Uint8Array<ArrayBuffer>, part: SitePart): Promise<boolean> {
  if (bytes.length !== part.bytes) return false;
  if (globalThis.crypto?.subtle === undefined) return true;
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("") === part.sha256;
}

/** The files of one model. */
export class PartLoader {
  #loaded = 0;
  #cached = 0;

  private constructor(
    readonly manifest: SiteManifest,
    readonly options: PartLoaderOptions,
    readonly cache: Cache | null,
  ) {}

  /**
   * Reads model.json: from the network, or from the cache if there is no network.
   *
   * @throws {SiteError} if it is neither there, or is not a manifest
   */
  static async open(options: PartLoaderOptions): Promise<PartLoader> {
    const cache = options.keep ? await openCache() : null;
    const address = new URL("model.json", options.folder);
    let text: string;
    try {
      const response = await fetch(address, { cache: "no-cache", signal: options.signal });
      if (!response.ok) {
        throw new SiteError(`Cannot load ${address}: the server answered ${response.status}`);
      }
      text = await response.text();
      await cache?.put(address, new Response(text)).catch(() => {});
    } catch (error) {
      options.signal.throwIfAborted();
      const kept = await cache?.match(address);
      if (kept === undefined) {
        if (error instanceof SiteError) throw error;
        throw new SiteError(`Cannot load ${address}: ${reasonOf(error)}`);
      }
      text = await kept.text();
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new SiteError(`Cannot read ${address}: it is not JSON (${reasonOf(error)})`);
    }
    return new PartLoader(checkManifest(value, address.href), options, cache);
  }

  /** Bytes of all files but model.json. */
  get totalBytes(): number {
    const { texts, weights } = this.manifest;
    return [...texts, ...weights].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #keyOf(part: SitePart): URL {
    const key = new URL(part.file, this.options.folder);
    key.searchParams.set("sha256", part.sha256);
    return key;
  }

  #tell(bytes: number, isCached: boolean): void {
    this.#loaded += bytes;
    if (isCached) this.#cached += bytes;
    this.options.onProgress({
      stage: "download",
      loadedBytes: this.#loaded,
      totalBytes: this.totalBytes,
      cachedBytes: this.#cached,
    });
  }

  /**
   * The bytes of a file.
   *
   * @throws {SiteError} if the server does not have it, or it is not the file of the manifest
   */
  async bytes(part: SitePart): Promise<Uint8Array<ArrayBuffer>> {
    const key = this.#keyOf(part);
    const kept = await this.cache?.match(key);
    if (kept !== undefined) {
      const bytes = new Uint8Array(await kept.arrayBuffer());
      if (await isWhole(bytes, part)) {
        this.#tell(part.bytes, true);
        return bytes;
      }
      await this.cache?.delete(key);
    }
    const bytes = await this.#fetch(part);
    // Without room the page still works; it only has to load again next time.
    await this.cache?.put(key, new Response(bytes)).catch(() => {});
    return bytes;
  }

  async #fetch(part: SitePart): Promise<Uint8Array<ArrayBuffer>> {
    for (let attempt = 1;; attempt++) {
      const before = this.#loaded;
      try {
        return await this.#fetchOnce(part);
      } catch (error) {
        this.options.signal.throwIfAborted();
        this.#loaded = before;
        if (error instanceof SiteError) throw error;
        if (attempt === ATTEMPTS) {
          throw new SiteError(
            `Cannot load ${part.file}: ${reasonOf(error)}; what has arrived is kept, load again`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, WAIT_MS * attempt));
      }
    }
  }

  async #fetchOnce(part: SitePart): Promise<Uint8Array<ArrayBuffer>> {
    const { signal, folder } = this.options;
    // Our own cache keeps it; the browser's other one need not.
    const mode = this.cache === null ? "default" : "no-store";
    const response = await fetch(new URL(part.file, folder), { signal, cache: mode });
    if (!response.ok) {
      throw new SiteError(
        `Cannot load ${part.file}: the server answered ${response.status}; upload the whole ` +
          'folder that "export web" wrote',
      );
    }
    const bytes = new Uint8Array(part.bytes);
    let filled = 0;
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (filled + value.length > bytes.length) {
        await reader.cancel();
        throw new SiteError(
          `Cannot use ${part.file}: it is longer than the ${part.bytes} bytes of model.json; ` +
            "upload both files of the same export",
        );
      }
      bytes.set(value, filled);
      filled += value.length;
      this.#tell(value.length, false);
    }
    if (filled < part.bytes) {
      throw new Error(`The connection ended after ${filled} of ${part.bytes} bytes`);
    }
    if (!await isWhole(bytes, part)) {
      throw new SiteError(
        `Cannot use ${part.file}: its SHA-256 is not that of model.json; upload both files of ` +
          "the same export",
      );
    }
    return bytes;
  }

  /** Files in order; the next one is fetched while one is used. */
  async *inOrder(parts: readonly SitePart[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    let next: Promise<Uint8Array<ArrayBuffer>> | null = null;
    for (let i = 0; i < parts.length; i++) {
      const bytes: Uint8Array<ArrayBuffer> = await (next ?? this.bytes(parts[i]));
      next = i + 1 < parts.length ? this.bytes(parts[i + 1]) : null;
      next?.catch(() => {}); // It is thrown by the await above.
      yield bytes;
    }
  }

  /** Removes files of this folder that an older export had. */
  async forgetOthers(): Promise<void> {
    if (this.cache === null) return;
    const { texts, weights } = this.manifest;
    const ours = new Set([...texts, ...weights].map((part) => this.#keyOf(part).href));
    ours.add(new URL("model.json", this.options.folder).href);
    const { href } = this.options.folder;
    for (const { url } of await this.cache.keys()) {
      if (url.startsWith(href) && !ours.has(url)) await this.cache.delete(url);
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
