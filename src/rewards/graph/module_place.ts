/** Finds a module by its name in the config. */
import { builtinUrl } from "./builtin_module.ts";
import { fileUrl } from "./local_module.ts";

/** A module's location. */
export interface ModulePlace {
  entry: URL;
  /** One of this library's own rewards. */
  builtin: boolean;
  /** It is fetched over the network. */
  remote: boolean;
}

/** The location of a path (relative to `base`), a specifier or a `builtin:` name. */
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
