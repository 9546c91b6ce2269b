/**
 * `model/model.json` of an exported site: the model's config and its files. The exporter writes it
 * and the browser reads it.
 *
 * @module
 */
import type { VLMConfig } from "../vlm_config.ts";

/** Number of the format; it changes if an older page could not read the folder. */
export const SITE_FORMAT = 1;

/** Most bytes of a part of the weights: below the 25 MB that static hosts take as one file. */
export const PART_BYTES = 24_000_000;

/** A file in the folder of model.json. */
export interface SitePart {
  /** Name of the file, which has no folder in it. */
  readonly file: string;
  readonly bytes: number;
  /** SHA-256 of the bytes, in hexadecimal. */
  readonly sha256: string;
}

/** What model.json says. */
export interface SiteManifest {
  readonly format: typeof SITE_FORMAT;
  /** What the page calls the model. */
  readonly name: string;
  readonly config: VLMConfig;
  /** Texts of tokenizer and image processor, for `processingOf` of the model's family. */
  readonly texts: readonly SitePart[];
  /** In order they are one safetensors file, with nanoVLM's names. */
  readonly weights: readonly SitePart[];
}

/** A folder that the page cannot use. */
export class SiteError extends Error {
  override name = "SiteError";
}

function isPart(value: unknown): value is SitePart {
  if (typeof value !== "object" || value === null) return false;
  const { file, bytes, sha256 } = value as Partial<Record<keyof SitePart, unknown>>;
  return typeof file === "string" && /^[\w.-]+$/.test(file) &&
    Number.isSafeInteger(bytes) && Number(bytes) > 0 &&
    typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256);
}

/**
 * Checks what `JSON.parse` gave for model.json.
 *
 * @param source its address, for messages
 * @throws {SiteError} if it is not a manifest of this format
 */
export function checkManifest(value: unknown, source: string): SiteManifest {
  const fail = (what: string): never => {
    throw new SiteError(
      `Cannot read ${source}: ${what}; run "export web" again and upload its folder`,
    );
  };
  if (typeof value !== "object" || value === null) return fail("it is not a JSON object");
  const { format, name, config, texts, weights } = value as Partial<
    Record<keyof SiteManifest, unknown>
  >;
  if (format !== SITE_FORMAT) fail(`its format is ${JSON.stringify(format)}, want ${SITE_FORMAT}`);
  const isObject = typeof config === "object" && config !== null;
  if (typeof name !== "string" || !isObject) return fail("it has no name or no config");
  const hasParts = [texts, weights].every((list) =>
    Array.isArray(list) && list.length > 0 && list.every(isPart)
  );
  if (!hasParts) fail("its texts or weights are no lists of files with bytes and sha256");
  return value as SiteManifest;
}
