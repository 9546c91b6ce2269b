/**
 * Types made of others: lists, mappings, groups of keys.
 *
 * @module
 */
import type { ConfigProblem } from "../config_error.ts";
import {
  canonicalName,
  type KeySpec,
  type Table,
  unknownKey,
  type ValueType,
  wrongType,
} from "./value_type.ts";

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

/** A value of the type; `null` stands for the key's default. */
export function orDefault<T>(type: ValueType<T>): ValueType<T> {
  return {
    name: `${type.name}, or null`,
    read(node, key, problems) {
      if (node.kind === "scalar" && node.value === null) return undefined;
      return type.read(node, key, problems);
    },
  };
}

/** A list. A single value stands for a list of one; null for an empty one, unless `min` forbids it. */
export function listOf<T>(type: ValueType<T>, { min = 0 } = {}): ValueType<T[]> {
  const name = `${type.name}, or a list of such${min > 0 ? ` (${min} or more)` : ""}`;
  return {
    name,
    ...(type.table === undefined ? {} : { anyKey: type }),
    read(node, key, problems) {
      if (node.kind === "map") {
        problems.push(wrongType(node, key, name));
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

/** The first type that can read the node; its message if none can. */
export function either<A, B>(first: ValueType<A>, second: ValueType<B>): ValueType<A | B> {
  const name = `${first.name} or ${second.name}`;
  return {
    name,
    read(node, key, problems) {
      const a = first.read(node, key, []);
      if (a !== undefined) return a;
      const b = second.read(node, key, []);
      if (b === undefined) problems.push(wrongType(node, key, name));
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
        problems.push(wrongType(node, key, name));
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
        problems.push(wrongType(node, key, "a mapping of keys to values"));
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
