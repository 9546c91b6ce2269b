/**
 * Which layers an adapter wraps: PEFT's rules for `target_modules`.
 *
 * @module
 */

import type { VLMConfig } from "../../vlm_config.ts";
import { familyOf } from "../families/families.ts";
import { pythonRegExp, PythonRegExpError } from "./python_regexp.ts";
import { linearModules, weightSpecs } from "../weight_shapes.ts";

/** An adapter cannot be made, read or merged. */
export class AdapterError extends Error {
  override name = "AdapterError";
}

/** The part of a LoRA config that selects the wrapped layers. */
export interface AdapterTargets {
  /**
   * A list: each name is a whole module name or its end after a dot. A string: a regular
   * expression for the whole name, or `all-linear`.
   */
  target_modules: readonly string[] | string;
  /** Excluded although they match: a list or a regular expression, as above. */
  exclude_modules?: readonly string[] | string | null;
  /** Trained in full and saved beside the adapter; never wrapped. */
  modules_to_save?: readonly string[] | null;
  /** Only these blocks, by number. */
  layers_to_transform?: readonly number[] | number | null;
  /** Name before the block's number; any by default. */
  layers_pattern?: readonly string[] | string | null;
}

/** What {@linkcode matchTargetModules} found. */
export interface MatchedTargets {
  /** The model's names of the wrapped layers, in the order of its modules. */
  modules: string[];
  /** A line for each name that matches nothing. */
  warnings: string[];
}

function fullMatch(pattern: string, key: string): boolean {
  try {
    return pythonRegExp(pattern).test(key);
  } catch (error) {
    if (error instanceof PythonRegExpError) throw new AdapterError(error.message);
    throw error;
  }
}

/** PEFT's rule for a list or a regular expression. */
function matches(targets: readonly string[] | string, key: string): boolean {
  if (typeof targets === "string") return fullMatch(targets, key);
  return targets.some((target) => key === target || key.endsWith(`.${target}`));
}

function asList<Item>(value: readonly Item[] | Item | null | undefined): readonly Item[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value : [value as Item];
}

/** The block's number after `pattern` in a name, as PEFT finds it. */
function blockNumber(pattern: string, key: string): RegExpExecArray | null {
  for (const match of key.matchAll(/(?<=\.)(\d+)(?=\.)/g)) {
    if (fullMatch(`(?:.*\\.)?(?:${pattern})\\.`, key.slice(0, match.index))) return match;
  }
  return null;
}

/** PEFT takes the number after the second-last name before it, or after `layers_pattern`. */
function isWantedLayer(targets: AdapterTargets, key: string): boolean {
  const wanted = asList<number>(targets.layers_to_transform);
  if (wanted.length === 0) return true;
  const patterns = asList<string>(targets.layers_pattern);
  const found = patterns.length === 0
    ? /^.*\.[^.]*\.(\d+)\./.exec(key)
    : patterns.map((pattern) => blockNumber(pattern, key)).find((match) => match !== null);
  return found !== null && found !== undefined && wanted.includes(Number(found[1]));
}

function isExcluded(targets: AdapterTargets, key: string): boolean {
  const { exclude_modules: excluded, modules_to_save: saved } = targets;
  if (excluded && excluded.length > 0 && matches(excluded, key)) return true;
  return asList<string>(saved).some((name) =>
    key === name || key.endsWith(`.${name}`) || key.includes(`.${name}.`) ||
    key.startsWith(`${name}.`)
  );
}

function unmatchedWarning(target: string, modules: readonly string[]): string {
  const layers = [...new Set(modules.map((name) => name.slice(name.lastIndexOf(".") + 1)))];
  if (target === "o_proj" && layers.includes("out_proj")) {
    return `target_modules: o_proj matches nothing; nanoVLM calls its attention output ` +
      `out_proj. Naming out_proj adapts the decoder's and the ViT's`;
  }
  return `target_modules: ${target} matches nothing; the linear layers here are ` +
    layers.join(", ");
}

/**
 * The layers that PEFT would wrap. Targets match the names of the model's family.
 *
 * @throws {AdapterError} if nothing matches, or something that is no linear layer does
 */
export function matchTargetModules(config: VLMConfig, targets: AdapterTargets): MatchedTargets {
  const family = familyOf(config);
  const linear = linearModules(config).map((name) => family.toFileName(name));
  const toModel = (keys: readonly string[]) => keys.map((key) => family.toModelName(key));
  const { target_modules: wanted } = targets;
  if (typeof wanted === "string" && wanted.toLowerCase() === "all-linear") {
    // PEFT leaves the head of a Transformers model out; nanoVLM's models are plain modules.
    const all = family.name === "nanoVLM"
      ? linear
      : linear.filter((key) => family.toModelName(key) !== "decoder.head");
    return { modules: toModel(all.filter((key) => !isExcluded(targets, key))), warnings: [] };
  }
  const isMatch = (key: string): boolean =>
    !isExcluded(targets, key) && matches(wanted, key) &&
    (Array.isArray(wanted) && wanted.includes(key) || isWantedLayer(targets, key));
  // The embedding of a tied model is a module too.
  const others = weightSpecs({ ...config, lm_tie_weights: false })
    .map(({ name }) => family.toFileName(name))
    .map((name) => name.slice(0, name.lastIndexOf(".")))
    .filter((name) => !linear.includes(name) && isMatch(name));
  if (others.length > 0) {
    throw new AdapterError(
      `Cannot adapt ${others[0]}: LoRA wraps linear layers here, and it is none; ` +
        `take it out of target_modules`,
    );
  }
  const modules = linear.filter(isMatch);
  const warnings = asList<string>(typeof wanted === "string" ? null : wanted)
    .filter((target) => !linear.some((key) => matches([target], key)))
    .map((target) => unmatchedWarning(target, linear));
  if (modules.length === 0) {
    throw new AdapterError(
      `Cannot make an adapter: target_modules ${JSON.stringify(wanted)} matches no layer; ` +
        (warnings[0] ?? "a string has to match whole names, e.g. decoder\\..*\\.q_proj"),
    );
  }
  return { modules: toModel(modules), warnings };
}

/**
 * Whether PEFT stores a tensor of these `modules_to_save`: a module counts if its name ends with one
 * of them.
 *
 * @param name of the tensor in the files of the model's family
 */
export function isSavedModule(saved: readonly string[] | null | undefined, name: string): boolean {
  const path = name.split(".");
  return path.some((_, i) => saved?.some((end) => path.slice(0, i + 1).join(".").endsWith(end)));
}

/**
 * The value of `rank_pattern` or `alpha_pattern` for a layer: keys are regular expressions for
 * the end of its name.
 */
export function patternValue(
  pattern: Readonly<Record<string, number>> | null | undefined,
  module: string,
  otherwise: number,
): number {
  for (const [key, value] of Object.entries(pattern ?? {})) {
    if (fullMatch(`(?:.*\\.)?(?:${key})`, module)) return value;
  }
  return otherwise;
}

/**
 * PEFT's `modules_to_save` for weights that are trained beside an adapter: a whole part if all
 * of it is trained and none of it wrapped, else its modules one by one.
 *
 * @param names of the trained weights
 * @param wrapped names of the layers that the adapter wraps
 * @throws {AdapterError} if only some tensors of a module are trained, or a wrapped layer's own
 * weight is, since PEFT can save neither
 */
export function modulesToSave(
  config: VLMConfig,
  names: Iterable<string>,
  wrapped: Iterable<string>,
): string[] {
  const trained = new Set(names);
  const adapted = [...wrapped];
  const modules = new Map<string, string[]>();
  const specs = weightSpecs(config);
  const wholeParts = new Set(
    ["vision_encoder", "decoder", "MP"].filter((part) =>
      !adapted.some((module) => module.startsWith(`${part}.`)) &&
      specs.every(({ name }) => !name.startsWith(`${part}.`) || trained.has(name))
    ),
  );
  for (const { name } of specs) {
    const part = name.slice(0, name.indexOf("."));
    const whole = wholeParts.has(part);
    // The position embedding is a tensor of patch_embedding itself, so that is the module.
    const module = whole
      ? part
      : name.replace(/(?<=\.patch_embedding)\..*$/, "").replace(/\.(weight|bias)$/, "");
    modules.set(module, [...modules.get(module) ?? [], name]);
  }
  const saved: string[] = [];
  const isTied = config.lm_tie_weights && !wholeParts.has("decoder");
  if (isTied && trained.has("decoder.head.weight")) {
    throw new AdapterError(
      "Cannot save decoder.head.weight beside the adapter: it is tied to the token embedding, and " +
        "PEFT would load it as a head of its own; train it with lm_tie_weights false",
    );
  }
  for (const [module, tensors] of modules) {
    const some = tensors.filter((name) => trained.has(name));
    if (some.length === 0) continue;
    const clash = adapted.find((name) => name === module || name.startsWith(`${module}.`));
    if (some.length < tensors.length || clash !== undefined) {
      throw new AdapterError(
        `Cannot save ${some[0]} beside the adapter: ` +
          (clash === undefined
            ? `the rest of ${module} is not trained with it`
            : `${clash} is adapted, and PEFT keeps an adapted layer's own weights as they were`),
      );
    }
    saved.push(familyOf(config).toFileName(module));
  }
  return saved;
}
