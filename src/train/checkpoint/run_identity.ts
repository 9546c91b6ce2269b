/**
 * What decides a run's numbers: data, backend, settings. A checkpoint records it, and a resume
 * compares it with the run that goes on.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { type ActiveBackend, activeBackend } from "../../device/backend.ts";
import { findBlas } from "../../device/products/blas.ts";

/** Names a data set. */
export interface DataIdentity {
  /** What it was loaded from. */
  readonly name: string;
  /** SHA-256 of the data and of what was done with it; empty: unknown, for rows made by code. */
  readonly fingerprint: string;
  /** Null for a stream. */
  readonly examples: number | null;
}

/** A value of the config. */
type Setting = string | number | boolean | null | readonly Setting[] | {
  readonly [key: string]: Setting;
};

/** Which libraries multiply matrices on the CPU path. Another one gives other last bits. */
export interface ProductLibraries {
  /** The library of shapes without a choice; null: the wasm kernels. */
  readonly first: string | null;
  /** Names of libraries by the keys of measured shapes. */
  readonly choices: Readonly<Record<string, string>>;
}

/** What decides a run's numbers. */
export interface RunIdentity {
  readonly data: DataIdentity;
  /** Null if the caller started tfjs. */
  readonly backend: ActiveBackend["name"] | null;
  /** The adapter of WebGPU. */
  readonly device: string | null;
  /** Null on other backends than wasm; a checkpoint of an earlier version lacks it. */
  readonly products?: ProductLibraries | null;
  /** Values by key path, such as `training.seed`. */
  readonly settings: Readonly<Record<string, Setting>>;
}

/** How a resumed run differs from the one that wrote the checkpoint; a sentence part each. */
export interface IdentityDifferences {
  /** With these the run cannot go on as if it had never stopped: position and numbers are others. */
  readonly decisive: readonly string[];
  /** What a user may well change between two parts of a run, such as the learning rate. */
  readonly minor: readonly string[];
}

/** The data cursor, the random streams or every number depend on these. */
const DECISIVE = new Set([
  "training.seed",
  "training.per_device_train_batch_size",
  "training.gradient_accumulation_steps",
  "training.group_by_length",
  "training.token_budget",
  "training.image_budget",
  "training.dataloader_drop_last",
  "training.optim",
  "training.bf16",
  "training.fp16",
  "training.gradient_compression",
  "training.gradient_overlap",
  "model.load_in_8bit",
  "dataset.streaming",
  "dataset.split_by",
  "dataset.split_rule",
  "dataset.weight_column",
  "dataset.augmentation.crop",
  "dataset.augmentation.flip",
  "dataset.augmentation.rotate",
  "dataset.augmentation.colour",
  "dataset.augmentation.blur",
  "dataset.augmentation.jpeg_quality",
  "dpo.sync_ref_model",
  "grpo.sync_ref_model",
  "grpo.num_generations",
  "grpo.generation_batch_size",
  "grpo.steps_per_generation",
  "grpo.num_iterations",
]);

/** What decides no number of a step. */
const IRRELEVANT = new RegExp(
  "^(save|logging)\\.|^training\\.(output_dir|save_|eval_|logging_|load_best|metric_for_best|" +
    "auto_find_batch_size$|early_stopping_|greater_is_better|per_device_eval|dataloader_num_workers|image_feature_|device$|n_gpu)|" +
    // The fingerprint names the data itself, however its path is spelled.
    "^dataset\\.(?!streaming$|split_by$|split_rule$|weight_column$|augmentation\\.|reward_functions_fn)|" +
    "^grpo\\.(log_completions|num_completions_to_print|num_generations_eval)",
);

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function* settingsBelow(
  value: Readonly<Record<string, unknown>>,
  path: string,
): Generator<[string, Setting]> {
  for (const [key, inner] of Object.entries(value)) {
    const name = path + key;
    if (isRecord(inner)) yield* settingsBelow(inner, `${name}.`);
    else if (!IRRELEVANT.test(name)) yield [name, inner as Setting];
  }
}

/**
 * The settings that decide numbers, by key path.
 *
 * @param config some sections of a config, or all
 * @param trainingType leaves out the other methods' sections
 */
export function decidingSettings(
  config: Partial<ResolvedConfig>,
  trainingType: string,
): RunIdentity["settings"] {
  const sections = Object.entries(config).filter(([name]) =>
    !["sft", "dpo", "grpo", "gkd", "training_type"].includes(name) || name === trainingType
  );
  return Object.fromEntries(settingsBelow(Object.fromEntries(sections), ""));
}

/** What a data set says of itself. */
export interface IdentifiedData {
  readonly name: string;
  readonly fingerprint: string;
  readonly length: number | null;
}

/** The identity of a data set. */
export function dataIdentity({ name, fingerprint, length }: IdentifiedData): DataIdentity {
  return { name, fingerprint, examples: length };
}

/** The libraries that the active backend multiplies with. */
function productLibraries(): ProductLibraries | null {
  if (activeBackend()?.name !== "wasm") return null;
  const blas = findBlas();
  if (!("choices" in blas)) return { first: null, choices: {} };
  return { first: blas.libraries[0].name, choices: Object.fromEntries(blas.choices()) };
}

/**
 * Makes the choices of a checkpoint's run this machine's, for shapes that it has not measured.
 *
 * @param then the checkpoint's identity
 */
export function adoptProductChoices({ products }: RunIdentity): void {
  const blas = findBlas();
  if (products && "choices" in blas) blas.adopt(new Map(Object.entries(products.choices)));
}

/**
 * The identity of a run on the active backend.
 *
 * @param method its training type and data
 * @param config the whole config, or the sections that there are
 */
export function runIdentity(
  method: { readonly name: string; readonly data: DataIdentity },
  config: Partial<ResolvedConfig>,
): RunIdentity {
  const backend = activeBackend();
  return {
    data: method.data,
    backend: backend?.name ?? null,
    device: backend?.adapterInfo?.description ?? null,
    products: productLibraries(),
    settings: decidingSettings(config, method.name),
  };
}

function describeData({ name, fingerprint, examples }: DataIdentity): string {
  const count = examples === null ? "a stream" : `${examples} examples`;
  return `${name} (${count}${fingerprint === "" ? "" : `, ${fingerprint.slice(0, 8)}`})`;
}

function isSameData(then: DataIdentity, now: DataIdentity): boolean {
  if (then.examples !== now.examples) return false;
  return then.fingerprint === now.fingerprint &&
    (then.fingerprint !== "" || then.name === now.name);
}

const text = (value: Setting | undefined): string =>
  value === undefined ? "not set" : JSON.stringify(value);

/** What differs between the libraries of two runs on wasm. */
function productDifferences(
  then: ProductLibraries | null | undefined,
  now: ProductLibraries | null | undefined,
): string[] {
  if (!then || !now) return [];
  const differences = then.first === now.first
    ? []
    : [`matrix products were by ${then.first ?? "wasm"} and are by ${now.first ?? "wasm"}`];
  const other = Object.entries(then.choices).filter(([shape, library]) =>
    (now.choices[shape] ?? library) !== library
  );
  if (other.length === 0) return differences;
  const [[shape, library]] = other;
  return [
    ...differences,
    `${other.length} shapes of matrix products have another library (${shape}: ${library}, now ` +
    `${now.choices[shape]})`,
  ];
}

/** The settings that split an optimizer step into micro-batches, on all ranks together. */
const BATCHING = new Set([
  "training.per_device_train_batch_size",
  "training.gradient_accumulation_steps",
]);

/**
 * Whether a step takes the same examples in other micro-batches, as with another number of ranks.
 * GRPO counts micro-batches in its rounds, so that its must stay as they are.
 */
function isRebatched(then: RunIdentity["settings"], now: RunIdentity["settings"]): boolean {
  if ("grpo.num_generations" in then) return false;
  const examples = (settings: RunIdentity["settings"]) =>
    [...BATCHING].reduce((product, key) => product * Number(settings[key]), 1);
  return examples(then) === examples(now);
}

/**
 * Compares the run that wrote a checkpoint with the one that goes on.
 *
 * @param then the checkpoint's
 * @param now the resumed run's
 */
export function identityDifferences(then: RunIdentity, now: RunIdentity): IdentityDifferences {
  const decisive: string[] = [], minor: string[] = [];
  if (!isSameData(then.data, now.data)) {
    decisive.push(`the data was ${describeData(then.data)} and is ${describeData(now.data)}`);
  }
  if (then.backend !== now.backend) {
    decisive.push(`the backend was ${then.backend} and is ${now.backend}`);
  } else if (then.device !== now.device) {
    minor.push(`the device was ${then.device} and is ${now.device}`);
  }
  decisive.push(...productDifferences(then.products, now.products));
  const rebatched = isRebatched(then.settings, now.settings);
  // A key that the checkpoint does not have is newer than the program that wrote it.
  for (const key of Object.keys(then.settings)) {
    const [before, after] = [text(then.settings[key]), text(now.settings[key])];
    if (before === after) continue;
    const decides = DECISIVE.has(key) && !(rebatched && BATCHING.has(key));
    (decides ? decisive : minor).push(`${key} was ${before} and is ${after}`);
  }
  return { decisive, minor };
}
