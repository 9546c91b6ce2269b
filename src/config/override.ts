/**
 * `--set key.path=value`: overrides of single keys.
 *
 * @module
 */
import { ConfigError, type ConfigProblem, type Position } from "./config_error.ts";
import { type ConfigNode, type MapNode, parseConfigNode } from "./types/config_node.ts";
import { group } from "./types/composite_types.ts";
import { canonicalName, type KeySpec, unknownKey, type ValueType } from "./types/value_type.ts";
import type { ModelSection } from "./types/config_types.ts";
import { pointToPlace } from "./key_places.ts";
import { configTable } from "./schema/schema.ts";
import { trlKey } from "./schema/trl_keys.ts";
import { vlmConfigKeys } from "./schema/vlm_config.ts";

/** The value of a key of TRL, which is judged where the whole config is read. */
const anything: ValueType<unknown> = { name: "a value", read: () => null };

/** `model.initializer_range` by default. */
const DEFAULT_RANGE = 0.02;

/** One override, parsed. */
export interface Override {
  readonly path: readonly string[];
  readonly node: ConfigNode;
}

/**
 * Parses one override. The value is YAML (`5`, `5e-5`, `true`, `null`, `[a, b]`, `{r: 8}`); if
 * the key holds a string, text that is no YAML value of the right type is taken literally.
 *
 * @param text `training.max_steps=5`.
 * @throws {ConfigError} if there is no `=`, no such key, or the value does not suit the key.
 */
export function parseOverride(text: string): Override {
  const position: Position = { file: `--set ${text}` };
  const equals = text.indexOf("=");
  if (equals < 1) {
    throw new ConfigError([{
      ...position,
      key: "",
      text: "got no key and value, want key.path=value, such as training.max_steps=100",
    }]);
  }
  const written = text.slice(equals + 1);
  const { path, type } = findKey(text.slice(0, equals).trim(), written, position);
  const key = path.join(".");
  const raw: ConfigNode = { kind: "scalar", position, value: written };
  const problems: ConfigProblem[] = [];
  let node: ConfigNode = raw;
  try {
    node = reposition(parseConfigNode(written, position.file), position);
    type.read(node, key, problems);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems.map((problem) => ({ ...position, key, text: problem.text })));
  }
  if (problems.length === 0) return { path, node };
  const asText: ConfigProblem[] = [];
  type.read(raw, key, asText);
  if (asText.length > 0) throw new ConfigError(problems);
  return { path, node: raw };
}

/** The path and the type of a dotted key. Names in free mappings may hold dots themselves. */
function findKey(
  key: string,
  written: string,
  position: Position,
): { path: string[]; type: ValueType<unknown> } {
  const path: string[] = [];
  let type: ValueType<unknown> = group(configTable);
  let rest = key.split(".");
  while (rest.length > 0) {
    const [head, ...tail] = rest;
    if (type.table !== undefined) {
      const name = canonicalName(type.table, head);
      if (name === undefined && path.length === 1 && trlKey(path[0], rest.join("."))) {
        return { path: [path[0], rest.join(".")], type: anything };
      }
      if (name === undefined) {
        const full = [...path, head].join(".");
        throw new ConfigError([pointToPlace(unknownKey(position, full, head, type.table))]);
      }
      const specs: Record<string, KeySpec<unknown>> = { ...type.table };
      type = specs[name].type;
      path.push(name);
      rest = tail;
    } else if (type.anyKey !== undefined) {
      const options = type.anyKey.table;
      const last = rest[rest.length - 1];
      // `rewards.a.ts={…}` sets all options of a.ts, `rewards.a.ts.weight=2` one of them.
      const endsInOption = options !== undefined && rest.length > 1 &&
        (canonicalName(options, last) !== undefined || !written.trim().startsWith("{"));
      path.push((endsInOption ? rest.slice(0, -1) : rest).join("."));
      type = type.anyKey;
      rest = endsInOption ? [last] : [];
    } else {
      const text = `${path.join(".")} is a single value, without keys of its own`;
      throw new ConfigError([{ ...position, key, text }]);
    }
  }
  return { path, type };
}

function reposition(node: ConfigNode, position: Position): ConfigNode {
  if (node.kind === "list") {
    return { ...node, position, items: node.items.map((item) => reposition(item, position)) };
  }
  if (node.kind === "map") {
    const entries: MapNode["entries"] = new Map();
    for (const [key, entry] of node.entries) {
      entries.set(key, { keyPosition: position, node: reposition(entry.node, position) });
    }
    return { ...node, position, entries };
  }
  return { ...node, position };
}

/** A copy of a tree with an override applied. */
export function applyOverride(tree: MapNode, { path, node }: Override): MapNode {
  const [head, ...rest] = path;
  const entries = new Map(tree.entries);
  // An alias of the key in the file must not contradict the override.
  for (const given of tree.entries.keys()) {
    if (rest.length === 0 && given !== head && aliasOf(given, head)) entries.delete(given);
  }
  if (rest.length === 0) {
    entries.set(head, { keyPosition: node.position, node });
    return { ...tree, entries };
  }
  const inside = tree.entries.get(head);
  const below: MapNode = inside?.node.kind === "map"
    ? inside.node
    : { kind: "map", position: node.position, entries: new Map() };
  entries.set(head, {
    keyPosition: inside?.keyPosition ?? node.position,
    node: applyOverride(below, { path: rest, node }),
  });
  return { ...tree, entries };
}

function aliasOf(given: string, name: string): boolean {
  const sections: Record<string, KeySpec<unknown>> = { ...configTable };
  return Object.values(sections).some(({ type }) =>
    type.table !== undefined && canonicalName(type.table, given) === name
  );
}

/**
 * The overrides that `convert` takes: `vlm_config.KEY=VALUE`, `init_position_embedding=…` and
 * `initializer_range=…`.
 *
 * @throws {ConfigError} if a key is another one, or a value does not suit its key.
 */
export function parseModelOverrides(texts: readonly string[]): {
  vlmConfig: ModelSection["vlm_config"];
  initPositionEmbedding: ModelSection["init_position_embedding"];
  initializerRange: number;
} {
  const position: Position = { file: "--set" };
  let tree: MapNode = { kind: "map", position, entries: new Map() };
  for (const text of texts) {
    const key = text.replace(/^model\./, "");
    if (!/^(vlm_config\.|(init_position_embedding|initializer_range)=)/.test(key)) {
      throw new ConfigError([{
        file: `--set ${text}`,
        key: "",
        text: "want vlm_config.KEY=VALUE, init_position_embedding=VALUE or initializer_range=VALUE",
      }]);
    }
    tree = applyOverride(tree, parseOverride(`model.${key}`));
  }
  const model = tree.entries.get("model")?.node;
  const given = (key: string) => model?.kind === "map" ? model.entries.get(key)?.node : undefined;
  const vlm = given("vlm_config");
  const init = given("init_position_embedding");
  const range = given("initializer_range");
  const start = init?.kind === "scalar" ? String(init.value).toLowerCase() : "uniform";
  return {
    vlmConfig: vlm === undefined
      ? {}
      : group(vlmConfigKeys, { filled: false }).read(vlm, "vlm_config", []) ?? {},
    initPositionEmbedding: start === "normal" || start === "sincos" ? start : "uniform",
    initializerRange: range?.kind === "scalar" ? Number(range.value) : DEFAULT_RANGE,
  };
}
