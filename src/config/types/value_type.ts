/**
 * What a config value's type is, what a key of the tables is, and how defaults are written.
 *
 * @module
 */
import { type ConfigNode, describeNode } from "./config_node.ts";
import type { ConfigProblem } from "../config_error.ts";
import type { ResolvedConfig, TrainingType } from "./config_types.ts";
import { nearestName } from "../nearest.ts";

/** Reads a value of type `T`, and collects what is wrong with it. */
export interface ValueType<T> {
  /** In messages and documents: `a number above 0`. */
  readonly name: string;
  /**
   * Reads a node. Mistakes go to `problems`; the result is then undefined.
   *
   * @param key The full key, for messages: `training.max_steps`.
   */
  read(node: ConfigNode, key: string, problems: ConfigProblem[]): T | undefined;
  /** The keys of a group. */
  readonly table?: Table<object>;
  /** The type of every value of a mapping whose keys are free. */
  readonly anyKey?: ValueType<unknown>;
  /** Whether absent keys of the group get their defaults. */
  readonly filled?: boolean;
}

/** How a key gets its value if the YAML has none. */
export type Default<T> =
  | {
    readonly kind: "required";
    /** What stands for the key: a value if other keys give one. */
    readonly unless?: {
      readonly rule: string;
      readonly from: (config: ResolvedConfig) => T | null;
    };
  }
  | { readonly kind: "value"; readonly values: Readonly<Record<TrainingType, T>> }
  | {
    readonly kind: "derived";
    /** The rule in words. */
    readonly rule: string;
    /** Everything above this key in the tables is filled in already. */
    readonly from: (config: ResolvedConfig) => T;
  };

/** One key of the YAML: the row of the table that drives checks, defaults and documents. */
export interface KeySpec<T> {
  readonly type: ValueType<T>;
  readonly default: Default<T>;
  /** Where the default comes from. */
  readonly source: string;
  /** What the key does, in one or two sentences. */
  readonly meaning: string;
  /** Other names of the same key. */
  readonly aliases?: readonly string[];
  /** Of the few keys that matter most: the usual range, and how to choose. */
  readonly advice?: { readonly range: string; readonly choose: string };
}

/** The keys of a section. */
export type Table<T> = { readonly [K in keyof T]-?: KeySpec<Exclude<T[K], undefined>> };

/** A default that is the same for every trainer. */
export function same<T>(value: T): Default<T> {
  return { kind: "value", values: { sft: value, dpo: value, grpo: value, gkd: value } };
}

/** A default for each trainer; that of GKD is SFT's if it is not given. */
export function perTrainer<T>(sft: T, dpo: T, grpo: T, gkd: T = sft): Default<T> {
  return { kind: "value", values: { sft, dpo, grpo, gkd } };
}

/** A default that follows from keys above. */
export function derived<T>(rule: string, from: (config: ResolvedConfig) => T): Default<T> {
  return { kind: "derived", rule, from };
}

/** No default: the YAML must have the key. */
export const required: Default<never> = { kind: "required" };

/** No default, unless other keys give a value. */
export function requiredUnless<T>(
  rule: string,
  from: (config: ResolvedConfig) => T | null,
): Default<T> {
  return { kind: "required", unless: { rule, from } };
}

/** The problem of a value that is of another type. */
export function wrongType(node: ConfigNode, key: string, wanted: string, hint = ""): ConfigProblem {
  const text = `got ${describeNode(node)}, want ${wanted}${hint}`;
  return { ...node.position, key, text };
}

/** The key of a table that a name or alias stands for. */
export function canonicalName(table: Table<object>, given: string): string | undefined {
  const specs: Record<string, KeySpec<unknown>> = { ...table };
  if (Object.hasOwn(specs, given)) return given;
  return Object.keys(specs).find((name) => specs[name].aliases?.includes(given));
}

/** The problem of a key that no table has. */
export function unknownKey(
  position: { file: string; line?: number },
  key: string,
  given: string,
  table: Table<object>,
): ConfigProblem {
  const nearest = nearestName(given, Object.keys(table));
  const text = nearest === undefined
    ? `no such key; known here: ${Object.keys(table).join(", ")}`
    : `no such key; did you mean ${nearest}?`;
  const unknown = { name: given };
  return { ...position, key, text, unknown, ...(nearest === undefined ? {} : { nearest }) };
}
