/**
 * `config.json` of a nanoVLM folder: read with its dims checked, written so that Python's
 * `VLMConfig(**json)` takes it.
 *
 * @module
 */

import { defaultVLMConfig, type VLMConfig } from "../../../vlm_config.ts";
import { checkVLMConfig, ModelConfigError } from "../check_config.ts";
import type { ParseConfigOptions } from "../model_family.ts";

/** Keys that Python writes with a decimal point. */
const FLOAT_KEYS: readonly string[] = [
  "vit_dropout",
  "vit_ln_eps",
  "lm_dropout",
  "lm_rms_eps",
  "lm_attn_scaling",
];
const REAL_KEYS: readonly string[] = [...FLOAT_KEYS, "lm_re_base"];
/** May be zero. */
const COUNT_KEYS: readonly string[] = ["extra_token_amount", "lm_base_vocab_size"];

function typeProblem(key: string, value: unknown, sample: unknown): string | null {
  if (key === "vlm_extra_tokens") {
    const ok = typeof value === "object" && value !== null && !Array.isArray(value) &&
      Object.values(value).every((token) => typeof token === "string" && token !== "");
    return ok ? null : "an object of token strings by role";
  }
  if (typeof sample === "number") {
    if (!REAL_KEYS.includes(key)) {
      const least = COUNT_KEYS.includes(key) ? 0 : 1;
      const ok = Number.isSafeInteger(value) && Number(value) >= least;
      return ok ? null : `an integer from ${least}`;
    }
    if (typeof value !== "number" || !Number.isFinite(value)) return "a number";
    if (key.endsWith("_dropout")) return value >= 0 && value < 1 ? null : "a number in [0, 1)";
    return value > 0 ? null : "a number above 0";
  }
  return typeof value === typeof sample ? null : `a ${typeof sample}`;
}

/**
 * Makes a config from a parsed config.json. Absent keys get nanoVLM's defaults; unknown
 * ones are ignored with a warning, since nanoVLM would refuse to load them.
 *
 * @param value what `JSON.parse` gave
 * @param source the file's name, for messages
 * @throws {ModelConfigError} if a value has the wrong type, or {@linkcode checkVLMConfig} fails
 */
export function parseVLMConfig(
  value: unknown,
  source: string,
  options: ParseConfigOptions = {},
): VLMConfig {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ModelConfigError(`Cannot use ${source}: want an object of VLMConfig keys`);
  }
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  const known: Record<string, unknown> = { ...(options.defaults ?? defaultVLMConfig()) };
  const config: Record<string, unknown> = { ...known };
  for (const [key, given] of Object.entries(value)) {
    if (key === "model_type") continue; // it chose this family
    if (!Object.hasOwn(known, key)) {
      warn(`${source}: ${key} is not a key of nanoVLM's VLMConfig and is ignored`);
      continue;
    }
    const wanted = typeProblem(key, given, known[key]);
    if (wanted !== null) {
      throw new ModelConfigError(
        `Cannot use ${source}: ${key} is ${JSON.stringify(given)}, want ${wanted}`,
      );
    }
    config[key] = given;
  }
  // Every key is one of VLMConfig and was checked against its type.
  const parsed = config as unknown as VLMConfig;
  checkVLMConfig(parsed, source);
  return parsed;
}

/** The text of `config.json`, as Python's `json.dumps(asdict(cfg), indent=4)` lays it out. */
export function formatConfig(config: VLMConfig): string {
  const keys = Object.keys(defaultVLMConfig());
  const known = Object.fromEntries(
    Object.entries(config)
      .filter(([key]) => keys.includes(key))
      .sort(([a], [b]) => keys.indexOf(a) - keys.indexOf(b)),
  );
  return JSON.stringify(known, null, 4)
    .replace(
      /^( {4}"(\w+)": -?\d+)(,?)$/gm,
      (line, value: string, key: string, comma: string) =>
        FLOAT_KEYS.includes(key) ? `${value}.0${comma}` : line,
    )
    .replace(
      /[\u007f-\uffff]/g,
      (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
    );
}
