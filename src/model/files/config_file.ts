/**
 * `config.json` of a nanoVLM folder: read with its dims checked, written so that Python's
 * `VLMConfig(**json)` takes it.
 *
 * @module
 */

import { defaultVLMConfig, type VLMConfig } from "../../vlm_config.ts";

/** A config.json that does not describe a nanoVLM. */
export class ModelConfigError extends Error {
  override name = "ModelConfigError";
}

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

/** Choices of {@linkcode parseVLMConfig}. */
export interface ParseConfigOptions {
  /** Called with a line for each ignored key; `console.warn` by default. */
  onWarning?: (text: string) => void;
  /** Values of absent keys; nanoVLM's defaults if not set. */
  defaults?: VLMConfig;
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

/**
 * Checks that the dims fit each other. A ViT with a class token passes the check: it can run
 * alone, but its output does not fit the projector.
 *
 * @throws {ModelConfigError} if they do not; the message names the keys and a way out
 */
export function checkVLMConfig(config: VLMConfig, source = "this config"): void {
  const fail = (what: string): never => {
    throw new ModelConfigError(`Cannot use ${source}: ${what}`);
  };
  const divides = (a: keyof VLMConfig, b: keyof VLMConfig): void => {
    if (Number(config[a]) % Number(config[b]) !== 0) {
      fail(`${a} ${config[a]} is not a multiple of ${b} ${config[b]}`);
    }
  };
  divides("vit_hidden_dim", "vit_n_heads");
  divides("lm_hidden_dim", "lm_n_heads");
  divides("lm_n_heads", "lm_n_kv_heads");
  const D = config.lm_hidden_dim / config.lm_n_heads;
  if (D % 2 !== 0) {
    fail(
      `a head is lm_hidden_dim / lm_n_heads = ${D} wide, and rotary embeddings need an even width`,
    );
  }
  if (config.vit_img_size < config.vit_patch_size) {
    fail(`vit_img_size ${config.vit_img_size} is below vit_patch_size ${config.vit_patch_size}`);
  }
  if (config.vit_cls_flag) return;
  const side = Math.floor(config.vit_img_size / config.vit_patch_size);
  const factor = config.mp_pixel_shuffle_factor;
  if (side % factor !== 0) {
    fail(
      `vit_img_size / vit_patch_size = ${side} patches a side do not divide by ` +
        `mp_pixel_shuffle_factor ${factor}`,
    );
  }
  const tokens = (side / factor) ** 2;
  if (config.mp_image_token_length !== tokens) {
    fail(
      `mp_image_token_length is ${config.mp_image_token_length}, but a ${config.vit_img_size} px ` +
        `tile gives (${config.vit_img_size} / ${config.vit_patch_size} / ${factor})² = ${tokens} ` +
        `tokens; set it to ${tokens}`,
    );
  }
}

/**
 * Reads `config.json` of a model folder.
 *
 * @throws {ModelConfigError} if it is missing, no JSON, or not a nanoVLM's
 */
export async function readConfig(
  folder: string,
  options: ParseConfigOptions = {},
): Promise<VLMConfig> {
  const path = `${folder}/config.json`;
  let value: unknown;
  try {
    value = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new ModelConfigError(
        `Cannot read a model from ${folder}: it has no config.json; a nanoVLM folder has ` +
          `config.json and model.safetensors`,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new ModelConfigError(`Cannot read ${path}: ${reason}`, { cause: error });
  }
  if (typeof value === "object" && value !== null && "model_type" in value) {
    throw new ModelConfigError(
      `Cannot read a nanoVLM from ${folder}: its config.json is that of a Transformers ` +
        `${JSON.stringify(value.model_type)} model; "convert" makes a nanoVLM folder of it`,
    );
  }
  return parseVLMConfig(value, path, options);
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
