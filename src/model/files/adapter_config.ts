/**
 * Reads and checks the keys of PEFT's `adapter_config.json` that LoRA and DoRA use.
 *
 * @module
 */

import { AdapterError, type AdapterTargets, patternValue } from "./adapter_targets.ts";

/** A LoRA or DoRA configuration, with PEFT's names. */
export interface LoraConfig extends AdapterTargets {
  /** Rank. */
  r: number;
  /** The LoRA branch is scaled by lora_alpha / r. */
  lora_alpha: number;
  /** Probability of dropping an input of the LoRA branch while training. */
  lora_dropout: number;
  /** DoRA: separate magnitudes for the rows of W + scaling · B A (Liu et al., 2024). */
  use_dora: boolean;
  /** Scale by lora_alpha / √r (Kalajdzievski, 2023). */
  use_rslora: boolean;
  /** How A is initialized: true is PEFT's default. */
  init_lora_weights: boolean | "gaussian";
  /** Ranks of single layers, by regular expressions for the end of their names. */
  rank_pattern?: Readonly<Record<string, number>>;
  /** Alphas of single layers, likewise. */
  alpha_pattern?: Readonly<Record<string, number>>;
  /** The base model: a folder or Hub id. */
  base_model_name_or_path?: string | null;
}

/** NanoVLM-Lab's defaults, with nanoVLM's layer names. */
export function defaultLoraConfig(): LoraConfig {
  return {
    r: 16,
    lora_alpha: 16,
    lora_dropout: 0.1,
    target_modules: [
      "down_proj",
      "o_proj",
      "k_proj",
      "q_proj",
      "gate_proj",
      "up_proj",
      "v_proj",
    ],
    use_dora: false,
    use_rslora: false,
    init_lora_weights: true,
  };
}

/** Rank and scaling of one layer. */
export function loraScaling(
  config: LoraConfig,
  module: string,
): { r: number; scaling: number } {
  const r = patternValue(config.rank_pattern, module, config.r);
  const alpha = patternValue(config.alpha_pattern, module, config.lora_alpha);
  return { r, scaling: alpha / (config.use_rslora ? Math.sqrt(r) : r) };
}

/**
 * Keys that change what the adapter computes, or which tensors it has, with the values that are
 * supported. An empty list or object counts as null.
 */
const UNSUPPORTED: Readonly<Record<string, unknown>> = {
  bias: "none",
  fan_in_fan_out: false,
  lora_bias: false,
  use_qalora: false,
  use_bdlora: null,
  layer_replication: null,
  target_parameters: null,
  trainable_token_indices: null,
  alora_invocation_tokens: null,
  arrow_config: null,
  kasa_config: null,
  velora_config: null,
  monteclora_config: null,
  megatron_config: null,
  ensure_weight_tying: false,
};

/** Keys that are read below, and keys that change nothing in a trained adapter. */
const KNOWN: ReadonlySet<string> = new Set([
  ...Object.keys(UNSUPPORTED),
  ...["r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "modules_to_save"],
  ...["layers_to_transform", "layers_pattern", "use_dora", "use_rslora", "init_lora_weights"],
  ...["rank_pattern", "alpha_pattern", "base_model_name_or_path", "peft_type", "peft_version"],
  ...["task_type", "auto_mapping", "revision", "inference_mode", "megatron_core", "runtime_config"],
  ...["loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size"],
]);

/**
 * `init_lora_weights` that leave the base weights alone. Others (pissa, olora, loftq, corda) change
 * them when PEFT loads the adapter.
 */
const HARMLESS_INITIALIZATIONS: readonly unknown[] = [
  true,
  false,
  "gaussian",
  "orthogonal",
  "eva",
  "lora_ga",
];

/** Null for an empty list or object. */
function orNull(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.keys(value).length === 0 ? null : value;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/**
 * Checks a parsed adapter_config.json.
 *
 * @param source the file, for messages
 * @throws {AdapterError} if it is of another method than LoRA, or a value makes no sense
 */
export function parseLoraConfig(value: unknown, source: string): LoraConfig {
  const fail = (what: string): never => {
    throw new AdapterError(`Cannot use the adapter ${source}: ${what}`);
  };
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return fail("it holds no JSON object");
  }
  const given: Record<string, unknown> = { ...value };
  if (given.peft_type !== "LORA") {
    fail(`peft_type is ${JSON.stringify(given.peft_type)}, only LORA (DoRA too) is supported`);
  }
  for (const [key, wanted] of Object.entries(UNSUPPORTED)) {
    if ((orNull(given[key]) ?? wanted) !== wanted) {
      fail(`${key} is ${JSON.stringify(given[key])}, only ${JSON.stringify(wanted)} is supported`);
    }
  }
  for (const [key, item] of Object.entries(given)) {
    if (KNOWN.has(key) || (orNull(item) ?? false) === false) continue;
    fail(
      `it has the key ${key} with the value ${JSON.stringify(item)}, which is not known here and ` +
        "may change what the adapter computes",
    );
  }
  const start = given.init_lora_weights ?? true;
  if (!HARMLESS_INITIALIZATIONS.includes(start)) {
    fail(
      `init_lora_weights is ${
        JSON.stringify(start)
      }, with which PEFT changes the base weights when ` +
        "it loads the adapter; save it with path_initial_model_for_weight_conversion (PEFT's " +
        "save_pretrained), which makes an adapter for the unchanged base model",
    );
  }
  const number = (key: string, least: number, otherwise: number): number => {
    const got = given[key] ?? otherwise;
    if (typeof got !== "number" || !Number.isFinite(got) || got < least) {
      return fail(`${key} is ${JSON.stringify(got)}, want a number from ${least}`);
    }
    return got;
  };
  const flag = (key: string): boolean => {
    const got = given[key] ?? false;
    return typeof got === "boolean"
      ? got
      : fail(`${key} is ${JSON.stringify(got)}, want a boolean`);
  };
  const names = (key: string): string[] | string | null => {
    const got = given[key] ?? null;
    if (got === null || typeof got === "string" || isStrings(got)) return got;
    return fail(`${key} is ${JSON.stringify(got)}, want names or a regular expression`);
  };
  const numbers = (key: string): Record<string, number> => {
    const got = given[key] ?? {};
    if (typeof got !== "object" || Array.isArray(got)) {
      return fail(`${key} is ${JSON.stringify(got)}, want numbers by name`);
    }
    const checked: Record<string, number> = {};
    for (const [name, item] of Object.entries(got ?? {})) {
      if (typeof item !== "number" || !(item > 0)) {
        return fail(`${key}.${name} is ${JSON.stringify(item)}, want a number above 0`);
      }
      checked[name] = item;
    }
    return checked;
  };
  const targets = names("target_modules");
  if (targets === null) fail("it has no target_modules");
  const r = number("r", 1, 8);
  if (!Number.isInteger(r)) fail(`r is ${r}, want a whole number`);
  const saved = names("modules_to_save");
  const layers = given.layers_to_transform ?? null;
  const isLayers = (item: unknown): item is number[] | number | null =>
    item === null || typeof item === "number" ||
    (Array.isArray(item) && item.every((layer) => typeof layer === "number"));
  if (!isLayers(layers)) {
    return fail(`layers_to_transform is ${JSON.stringify(layers)}, want block numbers`);
  }
  if (typeof targets === "string" && orNull(layers) !== null) {
    fail(
      "layers_to_transform stands beside a target_modules that is a regular expression, " +
        "which PEFT refuses; give a list of names",
    );
  }
  const base = given.base_model_name_or_path;
  return {
    r,
    lora_alpha: number("lora_alpha", 0, 8),
    lora_dropout: number("lora_dropout", 0, 0),
    target_modules: targets ?? [],
    exclude_modules: names("exclude_modules"),
    modules_to_save: typeof saved === "string" ? [saved] : saved,
    layers_to_transform: layers,
    layers_pattern: names("layers_pattern"),
    use_dora: flag("use_dora"),
    use_rslora: flag("use_rslora"),
    // The adapter is trained already, so its initialization is irrelevant.
    init_lora_weights: given.init_lora_weights === "gaussian" ? "gaussian" : true,
    rank_pattern: numbers("rank_pattern"),
    alpha_pattern: numbers("alpha_pattern"),
    base_model_name_or_path: typeof base === "string" ? base : null,
  };
}

/** The text of adapter_config.json: the keys that PEFT has had since DoRA. */
export function formatLoraConfig(config: LoraConfig): string {
  const { target_modules: targets } = config;
  return JSON.stringify(
    {
      alpha_pattern: config.alpha_pattern ?? {},
      auto_mapping: {
        base_model_class: "VisionLanguageModel",
        parent_library: "models.vision_language_model",
      },
      base_model_name_or_path: config.base_model_name_or_path ?? null,
      bias: "none",
      ...(config.exclude_modules ? { exclude_modules: config.exclude_modules } : {}),
      fan_in_fan_out: false,
      inference_mode: true,
      init_lora_weights: config.init_lora_weights,
      layers_pattern: config.layers_pattern ?? null,
      layers_to_transform: config.layers_to_transform ?? null,
      lora_alpha: config.lora_alpha,
      lora_dropout: config.lora_dropout,
      modules_to_save: config.modules_to_save?.length ? config.modules_to_save : null,
      peft_type: "LORA",
      r: config.r,
      rank_pattern: config.rank_pattern ?? {},
      revision: null,
      target_modules: typeof targets === "string" ? targets : [...targets].sort(),
      task_type: null,
      use_dora: config.use_dora,
      use_rslora: config.use_rslora,
    },
    null,
    2,
  ) + "\n";
}
