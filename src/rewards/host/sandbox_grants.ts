/** Checks grants and fills in their defaults. */
import type { SandboxGrants } from "../types.ts";

/** Default time limit of one call, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MEMORY_MB = 512;

/** Fills in defaults and makes paths absolute. @throws {TypeError} if a value is out of range */
export function resolveGrants(grants: SandboxGrants): SandboxGrants {
  const resolved = { ...grants };
  if (grants.integrity !== undefined && !/^sha256-[A-Za-z0-9+/]{43}=$/.test(grants.integrity)) {
    throw new TypeError(
      `Cannot start a sandbox with integrity ${grants.integrity}: want sha256- and 44 characters of base64`,
    );
  }
  if (Array.isArray(grants.allowRead)) {
    resolved.allowRead = grants.allowRead.map((path) =>
      /^([A-Za-z]:[\\/]|[\\/])/.test(path) ? path : `${Deno.cwd()}/${path}`
    );
  }
  resolved.memoryMb = grants.memoryMb ?? DEFAULT_MEMORY_MB;
  resolved.timeoutMs = grants.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  for (const key of ["memoryMb", "timeoutMs"] as const) {
    const value = resolved[key]!;
    if (!Number.isFinite(value) || value < 1 || value > 2 ** 31 - 1000) {
      throw new TypeError(`Cannot start a sandbox with ${key} ${value}: want at least 1`);
    }
  }
  return resolved;
}

/** Time limit for starting a process, before any code of the module runs, in milliseconds. */
export const BOOT_TIMEOUT_MS = 20_000;
/** Time limit for parsing a part of a graph, in milliseconds. */
export const PARSE_TIMEOUT_MS = 10_000;

/** Time limit for evaluating a module, in milliseconds. */
export function startTimeout(grants: SandboxGrants): number {
  return grants.startTimeoutMs ?? Math.max(2000, grants.timeoutMs ?? DEFAULT_TIMEOUT_MS);
}

/** The limits that the guard gets. */
export function limitsOf(grants: SandboxGrants): { memoryMb: number; allowNet: boolean } {
  return { memoryMb: grants.memoryMb ?? DEFAULT_MEMORY_MB, allowNet: Boolean(grants.allowNet) };
}
