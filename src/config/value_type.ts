/**
 * The types that a config value can have: how each is read from a node, what it is called in
 * messages and in `configs/README.md`.
 *
 * @module
 */
import { type ConfigNode, describeNode } from "./config_node.ts";
import type { ConfigProblem } from "./config_error.ts";
import type { ResolvedConfig, TrainingType } from "./config_types.ts";
import { nearestName } from "./nearest.ts";

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

/** How a key gets its value where the YAML has none. */
export type Default<T> =
  | { readonly kind: "required" }
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
}

/** The keys of a section. */
export type Table<T> = { readonly [K in keyof T]-?: KeySpec<Exclude<T[K], undefined>> };

/** A default that is the same for every trainer. */
export function same<T>(value: T): Default<T> {
  return { kind: "value", values: { sft: value, dpo: value, grpo: value } };
}

/** A default for each trainer. */
export function perTrainer<T>(sft: T, dpo: T, grpo: T): Default<T> {
  return { kind: "value", values: { sft, dpo, grpo } };
}

/** A default that follows from keys above. */
export function derived<T>(rule: string, from: (config: ResolvedConfig) => T): Default<T> {
  return { kind: "derived", rule, from };
}

/** No default: the YAML must have the key. */
export const required: Default<never> = { kind: "required" };

function problem(node: ConfigNode, key: string, wanted: string, hint = ""): ConfigProblem {
  const text = `got ${describeNode(node)}, want ${wanted}${hint}`;
  return { ...node.position, key, text };
}

function scalar<T>(
  name: string,
  accept: (value: unknown) => T | undefined,
  hint = (_: unknown) => "",
) {
  const read = (node: ConfigNode, key: string, problems: ConfigProblem[]): T | undefined => {
    const value = node.kind === "scalar" ? node.value : undefined;
    const accepted = value === undefined ? undefined : accept(value);
    if (accepted === undefined) problems.push(problem(node, key, name, hint(value)));
    return accepted;
  };
  return { name, read };
}

/** `true` or `false`. */
export function boolean(): ValueType<boolean> {
  return scalar(
    "true or false",
    (value) => typeof value === "boolean" ? value : undefined,
    (value) => /^(yes|no|on|off|true|false)$/i.test(String(value)) ? ", without quotes" : "",
  );
}

/** Any string but the empty one. */
export function text(name = "a string"): ValueType<string> {
  return scalar(
    name,
    (value) => typeof value === "string" && value !== "" ? value : undefined,
    (value) =>
      value === ""
        ? " that is not empty"
        : typeof value === "number" || typeof value === "boolean"
        ? " (quote it)"
        : "",
  );
}

/** The bounds of a number. */
export interface Bounds {
  /** Smallest. */
  readonly min?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
  /** Largest. */
  readonly max?: number;
  /** Exclusive upper bound. */
  readonly below?: number;
}

function boundsText({ min, above, max, below }: Bounds): string {
  const low = min !== undefined ? `${min} or more` : above !== undefined ? `above ${above}` : "";
  const high = max !== undefined ? `at most ${max}` : below !== undefined ? `below ${below}` : "";
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  return [low, high].filter(Boolean).map((part) => ` ${part}`).join(" and");
}

function within(value: number, { min, above, max, below }: Bounds): boolean {
  return Number.isFinite(value) && !(value < (min ?? -Infinity)) && !(value > (max ?? Infinity)) &&
    !(above !== undefined && value <= above) && !(below !== undefined && value >= below);
}

function quotedNumber(value: unknown): string {
  return typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))
    ? ", without quotes"
    : "";
}

/** A finite number. */
export function number(bounds: Bounds = {}): ValueType<number> {
  return scalar(
    `a number${boundsText(bounds)}`,
    (value) => typeof value === "number" && within(value, bounds) ? value : undefined,
    quotedNumber,
  );
}

/** A safe integer; `1e3` is one. */
export function integer(bounds: Bounds = {}): ValueType<number> {
  return scalar(
    `an integer${boundsText(bounds)}`,
    (value) =>
      Number.isSafeInteger(value) && within(value as number, bounds) ? value as number : undefined,
    quotedNumber,
  );
}

/** One of some values. Strings match in any case. `synonyms` maps further values to them. */
export function oneOf<const T extends string | boolean | number>(
  values: readonly T[],
  synonyms: ReadonlyMap<unknown, T> = new Map(),
): ValueType<T> {
  const name = values.length === 1 ? `${values[0]}` : `one of ${values.join(", ")}`;
  return scalar(
    name,
    (value) =>
      values.find((one) => one === value) ?? synonyms.get(value) ??
        values.find((one) =>
          typeof one === "string" && typeof value === "string" &&
          one.toLowerCase() === value.toLowerCase()
        ),
    (value) => {
      const nearest = typeof value === "string" && nearestName(value, values.map(String));
      return nearest ? `; did you mean ${nearest}?` : "";
    },
  );
}

/** `null`, or a value of the type. */
export function nullable<T>(type: ValueType<T>): ValueType<T | null> {
  return {
    name: `${type.name}, or null`,
    read(node, key, problems) {
      if (node.kind === "scalar" && node.value === null) return null;
      const found: ConfigProblem[] = [];
      const value = type.read(node, key, found);
      for (const one of found) {
        problems.push({ ...one, text: one.text.replace(type.name, this.name) });
      }
      return value;
    },
  };
}

/** A list. A single value stands for a list of one; null for an empty one, unless `min` forbids it. */
export function listOf<T>(type: ValueType<T>, { min = 0 } = {}): ValueType<T[]> {
  const name = `${type.name}, or a list of such${min > 0 ? ` (${min} or more)` : ""}`;
  return {
    name,
    read(node, key, problems) {
      if (node.kind === "map") {
        problems.push(problem(node, key, name));
        return undefined;
      }
      const empty = node.kind === "scalar" && node.value === null;
      const items = node.kind === "list" ? node.items : empty ? [] : [node];
      if (items.length < min) {
        problems.push({ ...node.position, key, text: `got an empty list, want ${name}` });
        return undefined;
      }
      const values = items.map((item, i) =>
        type.read(item, node.kind === "list" ? `${key}[${i}]` : key, problems)
      );
      return values.some((value) => value === undefined) ? undefined : values as T[];
    },
  };
}

/** The first type that can read the node; its message where none can. */
export function either<A, B>(first: ValueType<A>, second: ValueType<B>): ValueType<A | B> {
  const name = `${first.name} or ${second.name}`;
  return {
    name,
    read(node, key, problems) {
      const a = first.read(node, key, []);
      if (a !== undefined) return a;
      const b = second.read(node, key, []);
      if (b === undefined) problems.push(problem(node, key, name));
      return b;
    },
  };
}

/** A mapping with free keys. Null is an empty one. */
export function mapOf<T>(type: ValueType<T>): ValueType<Record<string, T>> {
  const name = type.table === undefined
    ? `a mapping of names to ${type.name}`
    : "a mapping of names to options";
  return {
    name,
    anyKey: type,
    read(node, key, problems) {
      if (node.kind === "scalar" && node.value === null) return {};
      if (node.kind !== "map") {
        problems.push(problem(node, key, name));
        return undefined;
      }
      const result: Record<string, T> = {};
      for (const [name, entry] of node.entries) {
        const value = type.read(entry.node, `${key}.${name}`, problems);
        if (value !== undefined) {
          Object.defineProperty(result, name, {
            value,
            enumerable: true,
            writable: true,
            configurable: true,
          });
        }
      }
      return result;
    },
  };
}

/**
 * A mapping with known keys. Only keys that the YAML has are read here; `filled` says whether
 * absent ones get defaults later.
 */
export function group<T extends object>(table: Table<T>, { filled = true } = {}): ValueType<T> {
  const specs: Record<string, KeySpec<unknown>> = { ...table };
  return {
    name: "a mapping",
    table,
    filled,
    read(node, key, problems) {
      if (node.kind === "scalar" && node.value === null) return {} as T;
      if (node.kind !== "map") {
        problems.push(problem(node, key, "a mapping of keys to values"));
        return undefined;
      }
      const result: Record<string, unknown> = {};
      const givenAs = new Map<string, string>();
      for (const [given, { keyPosition, node: value }] of node.entries) {
        const name = canonicalName(table, given);
        const full = key === "" ? given : `${key}.${given}`;
        if (name === undefined) {
          problems.push(unknownKey(keyPosition, full, given, table));
          continue;
        }
        const read = specs[name].type.read(value, full, problems);
        const before = givenAs.get(name);
        if (before !== undefined && JSON.stringify(read) !== JSON.stringify(result[name])) {
          const text = `contradicts ${before}, which is the same key; keep one`;
          problems.push({ ...keyPosition, key: full, text });
        }
        givenAs.set(name, given);
        if (read !== undefined) result[name] = read;
      }
      return result as T;
    },
  };
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
  return { ...position, key, text, ...(nearest === undefined ? {} : { nearest }) };
}
