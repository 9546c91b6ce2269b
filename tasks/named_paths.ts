/**
 * The files and folders that a command line or config names: a missing one is reported before anything
 * starts.
 *
 * @module
 */
import { isFreshModel } from "../src/config/schema/checks.ts";
import type { ResolvedConfig } from "../src/config/types/config_types.ts";
import { nearestName } from "../src/config/nearest.ts";
import { isDataHubId, parseHubId } from "../src/hub/hub_id.ts";
import { UsageError } from "./usage_error.ts";

/** What stands behind a name. */
export type NamedKind =
  /** A model's or adapter's folder, or a Hub id. */
  | "model"
  /** A data file or folder, or a Hub id. */
  | "data"
  | "file"
  | "folder"
  /** A path, or a specifier of code from elsewhere. */
  | "module";

/** One name, and who gave it: an option or a key. */
export type Named = readonly [by: string, kind: NamedKind, name: string];

/**
 * Checks that files and folders exist. A name that may be a Hub id and is no path is not checked.
 *
 * @throws {UsageError} for the first that does not
 */
export async function checkNamedPaths(names: readonly Named[]): Promise<void> {
  for (const [by, kind, name] of names) {
    if (isElsewhere(kind, name)) {
      await checkNoMistypedPath(by, kind, name);
      continue;
    }
    const info = await Deno.stat(name).catch((error) => {
      // A path that may not be looked at: the code that reads it reports the error.
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
        return null;
      }
      return undefined;
    });
    if (info === undefined) continue;
    const isFolder = kind === "model" || kind === "folder";
    if (info !== null && (kind === "data" || info.isDirectory === isFolder)) continue;
    const wanted = isFolder ? "folder" : kind === "data" ? "file or folder" : "file";
    const orId = kind === "model" || kind === "data" ? ", and it is no Hub id (owner/name)" : "";
    throw new UsageError(`${by}: ${name}: there is no such ${wanted}${orId}`);
  }
}

/** The names in a folder; none if it cannot be read. */
async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) names.push(name);
  } catch {
    return [];
  }
  return names;
}

/**
 * A name that may be a Hub id, but stands in a folder that exists or is near to a file or folder
 * that does, is taken for a mistyped path.
 *
 * @throws {UsageError} if it is one
 */
async function checkNoMistypedPath(by: string, kind: NamedKind, name: string): Promise<void> {
  if (kind !== "model" && kind !== "data" || name.startsWith("builtin:")) return;
  if (await Deno.stat(name).then(() => true, () => false)) return;
  const slash = name.indexOf("/");
  const folder = slash < 0 ? "." : name.slice(0, slash);
  const names = await namesIn(folder);
  const nearest = nearestName(name.slice(slash + 1), names);
  // Without a folder before it, a name of the Hub is as likely as a path, unless a path is near.
  if (names.length === 0 || slash < 0 && nearest === undefined) return;
  const what = kind === "model" ? "folder" : "file or folder";
  const place = slash < 0 ? "" : `${folder}/`;
  throw new UsageError(
    `${by}: ${name}: there is no such ${what}; ${
      nearest === undefined
        ? `${folder} has ${names.sort().slice(0, 5).join(", ")}`
        : `did you mean ${place}${nearest}?`
    } (if ${name} is meant to be on the Hub, run this in another folder)`,
  );
}

/** A model that need not be named. */
export function namedModel(by: string, name: string | null | undefined): Named[] {
  return name === null || name === undefined ? [] : [[by, "model", name]];
}

function isElsewhere(kind: NamedKind, name: string): boolean {
  // A folder of that name is taken before the Hub's repository.
  if (kind === "model") return name.startsWith("builtin:") || parseHubId(name) !== null;
  if (kind === "data") return name.startsWith("builtin:") || isDataHubId(name);
  return kind === "module" && /^(builtin|https?|jsr|npm|file):/.test(name);
}

/** What a config names. */
export function namesOfConfig(config: ResolvedConfig): Named[] {
  const { model, dataset, training, dpo } = config;
  const { vlm_config } = model;
  const fresh = isFreshModel(config);
  const sets = dataset.mixture.datasets;
  const names: Named[] = sets.length === 0
    ? [["dataset.train_data_path", "data", dataset.train_data_path]]
    : sets.flatMap(({ path, eval_path, preprocessing_fn }, i): Named[] => [
      [`dataset.mixture.datasets[${i}].path`, "data", path],
      ...(eval_path == null || training.eval_strategy === "no"
        ? []
        : [[`dataset.mixture.datasets[${i}].eval_path`, "data", eval_path] as const]),
      ...(preprocessing_fn == null ? [] : [
        [`dataset.mixture.datasets[${i}].preprocessing_fn`, "module", preprocessing_fn] as const,
      ]),
    ]);
  if (!fresh) names.push(["model.model_name_or_path", "model", model.model_name_or_path]);
  else {
    names.push(...namedModel("model.vlm_config.lm_tokenizer", vlm_config.lm_tokenizer));
    if (model.load_backbone) {
      names.push(...namedModel("model.vlm_config.lm_model_type", vlm_config.lm_model_type));
      names.push(...namedModel("model.vlm_config.vit_model_type", vlm_config.vit_model_type));
    }
  }
  if (dataset.eval_data_path !== null && training.eval_strategy !== "no") {
    names.push(["dataset.eval_data_path", "data", dataset.eval_data_path]);
  }
  if (dataset.preprocessing_fn !== null) {
    names.push(["dataset.preprocessing_fn", "module", dataset.preprocessing_fn]);
  }
  if (config.training_type === "dpo" && !dpo.reference_free) {
    names.push(...namedModel("dpo.ref_model_name_or_path", dpo.ref_model_name_or_path));
  }
  if (config.training_type === "gkd") {
    const { teacher_model_name_or_path: teacher } = config.gkd;
    names.push(...namedModel("gkd.teacher_model_name_or_path", teacher));
  }
  if (config.training_type === "grpo") {
    for (const module of dataset.reward_functions_fn) {
      names.push(["dataset.reward_functions_fn", "module", module]);
    }
  }
  return names;
}
