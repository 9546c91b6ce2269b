/** Where a module is, by how the config names it. */
import { builtinUrl } from "./builtin_module.ts";
import { fileUrl } from "./local_module.ts";

/** A module's place. */
export interface ModulePlace {
  entry: URL;
  /** One of this library's own. */
  builtin: boolean;
  /** It is fetched. */
  remote: boolean;
}

/** Finds the place of a path (relative to `base`), specifier or `builtin:` name. */
export function locate(
  specifier: string,
  base: string | undefined,
): ModulePlace {
  const found = { builtin: false, remote: false };
  if (specifier.startsWith("builtin:")) {
    return { ...found, entry: builtinUrl(specifier), builtin: true };
  }
  if (/^(https?|jsr|npm):/.test(specifier)) {
    return { ...found, entry: new URL(specifier), remote: true };
  }
  if (specifier.startsWith("file:")) return { ...found, entry: new URL(specifier) };
  const absolute = /^([A-Za-z]:[\\/]|[\\/])/.test(specifier);
  return { ...found, entry: fileUrl(absolute ? specifier : `${base ?? Deno.cwd()}/${specifier}`) };
}
