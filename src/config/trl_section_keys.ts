/**
 * Keys of TRL's config classes in the YAML: moved to where they belong here, left out with a note,
 * or refused with the way out.
 *
 * @module
 */
import type { ConfigProblem } from "./config_error.ts";
import { applyOverride } from "./override.ts";
import { configTable } from "./schema/schema.ts";
import { type TrlKey, trlKey } from "./schema/trl_keys.ts";
import { type ConfigNode, describeNode, type MapNode } from "./types/config_node.ts";
import { canonicalName } from "./types/value_type.ts";

/** A config without TRL's keys, and what there is to say of them. */
export interface WithoutTrlKeys {
  readonly root: MapNode;
  /** For stderr: the key changes nothing, or it was read under another name. */
  readonly notes: readonly ConfigProblem[];
  readonly problems: readonly ConfigProblem[];
}

function withoutEntry(root: MapNode, section: string, name: string): MapNode {
  const entries = new Map(root.entries);
  const own = entries.get(section);
  if (own?.node.kind !== "map") return root;
  const inner = new Map(own.node.entries);
  inner.delete(name);
  entries.set(section, { ...own, node: { ...own.node, entries: inner } });
  return { ...root, entries };
}

function isGiven(root: MapNode, key: string): boolean {
  const [section, name] = key.split(".");
  const node = root.entries.get(section)?.node;
  return node?.kind === "map" && node.entries.has(name);
}

const isOneOf = (node: ConfigNode, values: readonly unknown[]): boolean =>
  node.kind === "scalar" && values.includes(node.value);

/** The value of a key in the YAML; undefined: it is not given, or no single value. */
function givenValue(root: MapNode, key: string): unknown {
  const [section, name] = key.split(".");
  const own = root.entries.get(section)?.node;
  const node = own?.kind === "map" ? own.entries.get(name)?.node : undefined;
  return node?.kind === "scalar" ? node.value : undefined;
}

/**
 * Reads a key as the key here that says the same.
 *
 * @param root the whole config, as it was written
 * @param rest the config so far
 */
function translated(
  root: MapNode,
  { key, found, node }: {
    readonly key: string;
    readonly found: Extract<TrlKey, { kind: "translated" }>;
    readonly node: ConfigNode;
  },
  rest: MapNode,
): { rest: MapNode; note?: string; problem?: string } {
  const { to, values, why, overruledBy } = found;
  const value = values.find(([given]) => isOneOf(node, [given]));
  if (value === undefined) {
    const problem = `got ${describeNode(node)}, want ${
      values.map(([given]) => given).join(" or ")
    }`;
    return { rest, problem };
  }
  const [, meant] = value;
  const section = key.split(".")[0];
  const isOverruled = overruledBy !== undefined &&
    givenValue(root, `${section}.${overruledBy[0]}`) === overruledBy[1];
  if (meant === null || isOverruled) return { rest, note: `left out: ${why}` };
  const given = givenValue(root, to);
  if (given !== undefined && given !== meant) {
    return { rest, problem: `means ${to}: ${meant}, and that is ${given}; keep one of them` };
  }
  const changed = applyOverride(rest, {
    path: to.split("."),
    node: { kind: "scalar", value: meant, position: node.position },
  });
  return { rest: changed, note: `read as ${to}: ${meant}` };
}

/**
 * Takes TRL's keys out of the sections `sft`, `dpo` and `grpo`.
 *
 * @param root the whole config
 */
export function readTrlKeys(root: MapNode): WithoutTrlKeys {
  const notes: ConfigProblem[] = [], problems: ConfigProblem[] = [];
  let rest = root;
  for (const section of ["sft", "dpo", "grpo", "gkd"] as const) {
    const own = root.entries.get(section)?.node;
    const { table } = configTable[section].type;
    if (own?.kind !== "map" || table === undefined) continue;
    for (const [name, { keyPosition, node }] of own.entries) {
      const found = canonicalName(table, name) === undefined ? trlKey(section, name) : undefined;
      if (found === undefined) continue;
      const key = `${section}.${name}`;
      rest = withoutEntry(rest, section, name);
      const off = isOneOf(node, [null, ...(found.kind === "missing" ? found.off ?? [] : [])]);
      if (off && (found.kind === "moved" || found.kind === "missing")) {
        notes.push({ ...keyPosition, key, text: "TRL's default, which is left out here" });
      } else if (found.kind === "moved" && isGiven(root, found.to)) {
        const text = `is ${found.to} here, which is set too; keep one of them`;
        problems.push({ ...keyPosition, key, text });
      } else if (found.kind === "translated") {
        const { rest: changed, note, problem } = translated(root, { key, found, node }, rest);
        rest = changed;
        if (note !== undefined) notes.push({ ...keyPosition, key, text: note });
        if (problem !== undefined) problems.push({ ...keyPosition, key, text: problem });
      } else if (found.kind === "moved") {
        rest = applyOverride(rest, { path: found.to.split("."), node });
        notes.push({ ...keyPosition, key, text: `read as ${found.to}` });
      } else if (found.kind === "plumbing") {
        notes.push({ ...keyPosition, key, text: `a key of TRL without effect here: ${found.why}` });
      } else if (found.kind === "fixed" && isOneOf(node, found.values)) {
        notes.push({ ...keyPosition, key, text: `so it is in any case: ${found.why}` });
      } else if (found.kind === "fixed") {
        const text = `got ${describeNode(node)}, want ${found.values.join(" or ")}, or leave the ` +
          `key out: ${found.why}`;
        problems.push({ ...keyPosition, key, text });
      } else {
        const text = `a key of TRL that is not supported; ${found.instead}, and leave the key out`;
        problems.push({ ...keyPosition, key, text });
      }
    }
  }
  return { root: rest, notes, problems };
}
