import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where the Hub is, the token, and the cache folder: the variables that `huggingface_hub` reads. */
export interface HubSettings {
  /** `HF_ENDPOINT`, without a slash at its end. */
  readonly endpoint: string;
  /** `HF_TOKEN`, or the token that `hf auth login` stored; null without. */
  readonly token: string | null;
  /** `HF_HUB_CACHE`, or `hub` in `HF_HOME`. */
  readonly cacheDir: string;
  /** `HF_HUB_OFFLINE`: use the cache alone. */
  readonly offline: boolean;
}

/**
 * Reads the settings from the environment.
 *
 * Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
 *
 * @param read reads a variable; default: the process's
 */
export function hubSettings(
  read: (name: string) => string | undefined = (name) => Deno.env.get(name),
): HubSettings {
  const get = (name: string) => {
    const value = read(name)?.trim();
    return value === undefined || value === "" ? null : expandHome(value);
  };
  const home = get("HF_HOME") ??
    join(get("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  const disabled = isTrue(get("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
  return {
    endpoint: (get("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    token: disabled ? null : get("HF_TOKEN") ?? get("HUGGING_FACE_HUB_TOKEN") ??
      storedToken(get("HF_TOKEN_PATH") ?? join(home, "token")),
    cacheDir: resolve(get("HF_HUB_CACHE") ?? get("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub")),
    offline: isTrue(get("HF_HUB_OFFLINE")) || isTrue(get("TRANSFORMERS_OFFLINE")),
  };
}

function isTrue(value: string | null): boolean {
  return value !== null && ["1", "ON", "YES", "TRUE"].includes(value.toUpperCase());
}

function expandHome(value: string): string {
  return value.startsWith("~/") ? join(homedir(), value.slice(2)) : value;
}

function storedToken(path: string): string | null {
  try {
    return Deno.readTextFileSync(path).trim() || null;
  } catch {
    return null;
  }
}
