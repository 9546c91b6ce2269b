/** Checks grants and brings them into one normal form. */
import type { SandboxGrants } from "../types.ts";

/** Default time limit of one call, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MEMORY_MB = 512;
const MAX_PROCESSES = 64;

/**
 * Grants in their normal form. A list that is empty, missing or `false` is an empty list. The rest of
 * the sandbox reads only this form, so that a default cannot count as a grant.
 */
export interface ResolvedGrants {
  /** Hosts; `true` for any. */
  readonly net: true | readonly string[];
  /** Absolute paths, with links resolved; `true` for any. */
  readonly read: true | readonly string[];
  /** The same paths as the config states them, absolute. Empty if `read` is `true`. */
  readonly readAsStated: readonly string[];
  readonly env: readonly string[];
  readonly memoryMb: number;
  readonly timeoutMs: number;
  /** Time limit for evaluating the module, in milliseconds. */
  readonly startTimeoutMs: number;
  readonly processes: number;
  readonly integrity: string | undefined;
  readonly cacheDir: string | undefined;
}

/** Variables that change how a process starts. A module gets values, not a way to steer its process. */
const STEERING = /^(LD_|DYLD_|DENO_|NODE_|PERL|UV_|V8_|RUST_|GLIBC_|MALLOC_)/i;

/**
 * Fills in defaults, makes paths absolute and resolves their links.
 *
 * @throws {TypeError} if a value is out of range or of the wrong form
 */
export function resolveGrants(grants: SandboxGrants): ResolvedGrants {
  const { integrity } = grants;
  if (integrity !== undefined && !/^sha256-[A-Za-z0-9+/]{43}=$/.test(integrity)) {
    throw new TypeError(
      `Cannot start a sandbox with integrity ${integrity}: want sha256- and 44 characters of base64`,
    );
  }
  const read = listOf("allow_read", grants.allowRead);
  const stated = read === true ? [] : read.map(absolutePath);
  const env = listOf("allow_env", grants.allowEnv);
  if (env === true) {
    throw new TypeError("Cannot grant the whole environment: want allow_env: [NAME, …]");
  }
  for (const name of env) {
    if (!/^[^=*\0]+$/.test(name) || STEERING.test(name)) {
      throw new TypeError(
        `Cannot grant the environment variable ${JSON.stringify(name)}: want the whole name of a ` +
          "variable that does not change how a process starts",
      );
    }
  }
  const timeoutMs = inRange("timeoutMs", grants.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  return {
    net: listOf("allow_net", grants.allowNet),
    read: read === true ? true : [...new Set(stated.map(realPath))],
    readAsStated: stated,
    env,
    memoryMb: inRange("memoryMb", grants.memoryMb ?? DEFAULT_MEMORY_MB),
    timeoutMs,
    startTimeoutMs: inRange("startTimeoutMs", grants.startTimeoutMs ?? Math.max(2000, timeoutMs)),
    processes: Math.max(1, Math.min(MAX_PROCESSES, Math.floor(grants.processes ?? 1) || 1)),
    integrity,
    cacheDir: grants.cacheDir,
  };
}

/** Whether a path is granted for reading. `path` is absolute, with its links resolved. */
export function mayRead(grants: Pick<ResolvedGrants, "read">, path: string): boolean {
  if (grants.read === true) return true;
  const plain = (text: string): string => text.replaceAll("\\", "/").replace(/\/+$/, "");
  const inner = plain(path);
  return grants.read.some((granted) => {
    const outer = plain(granted);
    return inner === outer || inner.startsWith(`${outer}/`);
  });
}

/** Whether any host is granted. */
export function mayConnect({ net }: Pick<ResolvedGrants, "net">): boolean {
  return net === true || net.length > 0;
}

/** Time limit for starting a process, before any code of the module runs, in milliseconds. */
export const BOOT_TIMEOUT_MS = 20_000;
/** Time limit for parsing a part of a graph, in milliseconds. */
export const PARSE_TIMEOUT_MS = 10_000;

function listOf(key: string, granted: string[] | boolean | undefined): true | readonly string[] {
  if (granted === true) return true;
  if (granted === undefined || granted === false || granted === null) return [];
  if (!Array.isArray(granted)) {
    throw new TypeError(`Cannot grant ${key} ${JSON.stringify(granted)}: want a list of names`);
  }
  for (const item of granted) {
    if (typeof item !== "string" || item.trim() === "" || /[,\0]/.test(item)) {
      throw new TypeError(
        `Cannot grant ${key} ${JSON.stringify(item)}: want one name without commas`,
      );
    }
  }
  return [...new Set(granted)];
}

function inRange(key: string, value: number): number {
  if (!Number.isFinite(value) || value < 1 || value > 2 ** 31 - 1000) {
    throw new TypeError(`Cannot start a sandbox with ${key} ${value}: want at least 1`);
  }
  return value;
}

function absolutePath(path: string): string {
  if (path.startsWith("file:")) return decodeURIComponent(new URL(path).pathname);
  return /^([A-Za-z]:[\\/]|[\\/])/.test(path) ? path : `${Deno.cwd()}/${path}`;
}

/** The path with its links resolved; as it is if it does not exist or may not be read. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}
