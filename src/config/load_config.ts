/**
 * Config files: reading, overriding, filling in, checking.
 *
 * @module
 */
import { checkConfig, isFreshModel } from "./schema/checks.ts";
import { ConfigError, type ConfigProblem, formatPosition, type Position } from "./config_error.ts";
import { type ConfigNode, type MapNode, parseConfigNode } from "./types/config_node.ts";
import type { ResolvedConfig, RewardOptions, TrainingType } from "./types/config_types.ts";
import { applyOverride, parseOverride } from "./override.ts";
import { pointToPlace } from "./key_places.ts";
import { configTable } from "./schema/schema.ts";
import { readTrlKeys } from "./trl_section_keys.ts";
import { rewardKeys } from "./schema/rewards.ts";
import { group } from "./types/composite_types.ts";
import { canonicalName, type KeySpec, type Table } from "./types/value_type.ts";

/** How a config is read. */
export interface LoadConfigOptions {
  /** `key.path=value` each, as `--set` takes them; later ones win. */
  readonly overrides?: readonly string[];
  /** The trainer that the command names: fills an absent `training_type`, and must match one. */
  readonly trainingType?: TrainingType;
  /** The file's name in messages. Default: the path, or `config` for text. */
  readonly file?: string;
  /** Called with warnings, which do not stop the run. Default: `console.warn`. */
  readonly onWarning?: (warning: string) => void;
}

/**
 * Reads a config.
 *
 * @param source A path, a `file:` or `http(s):` URL, or YAML text (a string with a line break).
 * @returns The config with every key filled in.
 * @throws {ConfigError} with file, line and key of everything that is wrong.
 */
export async function loadConfig(
  source: string | URL,
  options: LoadConfigOptions = {},
): Promise<ResolvedConfig> {
  if (typeof source === "string" && /[\r\n]/.test(source)) return parseConfig(source, options);
  const file = options.file ?? String(source);
  return parseConfig(await readSource(source, file), { ...options, file });
}

async function readSource(source: string | URL, file: string): Promise<string> {
  try {
    if (/^https?:/.test(String(source))) {
      const response = await fetch(source);
      if (response.ok) return await response.text();
      await response.body?.cancel();
      throw new Error(`the server answered ${response.status}`);
    }
    const path = String(source).startsWith("file:") ? new URL(source) : source;
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const why = error instanceof Deno.errors.NotFound
      ? "there is no such file"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new ConfigError([{ file, key: "", text: `cannot read the config: ${why}` }]);
  }
}

/**
 * Parses a config's YAML text. The same as {@linkcode loadConfig} without a file.
 *
 * @throws {ConfigError} with file, line and key of everything that is wrong.
 *
 * @example Fill in what a short config leaves out
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const config = parseConfig(
 *   `training_type: sft
 * model: { model_name_or_path: ./model }
 * dataset: { train_data_path: rows.jsonl }`,
 *   { overrides: ["training.learning_rate=5e-5"] },
 * );
 * assertEquals(config.training.learning_rate, 5e-5);
 * assertEquals(config.training.output_dir, "./sft_output");
 * ```
 */
export function parseConfig(yaml: string, options: LoadConfigOptions = {}): ResolvedConfig {
  const file = options.file ?? "config";
  const overrides = (options.overrides ?? []).map(parseOverride);
  let root = asMap(parseConfigNode(yaml, file), file);
  for (const override of overrides) root = applyOverride(root, override);
  root = withTrainingType(root, options.trainingType);

  const trl = readTrlKeys(root);
  root = trl.root;
  const problems: ConfigProblem[] = [...trl.problems];
  const given = group(configTable).read(root, "", problems) ?? {};
  const type = (given as Partial<ResolvedConfig>).training_type;
  if (type === undefined) {
    // Defaults depend on it, so that nothing else can be checked.
    if (!root.entries.has("training_type")) {
      const text = "missing; want sft, dpo, grpo or gkd";
      problems.unshift({ ...root.position, key: "training_type", text });
    }
    throw new ConfigError(problems.map(pointToPlace));
  }

  const config = given as ResolvedConfig;
  if (config.model?.initialize_from_config) config.model.model_name_or_path ??= "initialize";
  fill(configTable, config, "", { config, type, root, problems });
  if (problems.length > 0) throw new ConfigError(inOrder(problems.map(pointToPlace)));
  if (isFreshModel(config)) config.model.model_name_or_path = "initialize";
  if (config.logging.use_wandb && !config.logging.report_to.includes("wandb")) {
    config.logging.report_to.push("wandb");
  }

  const findings = checkConfig(config);
  if (findings.problems.length > 0) {
    throw new ConfigError(
      inOrder(findings.problems.map((found) => ({ ...positionOf(root, found.key), ...found }))),
    );
  }
  const warn = options.onWarning ?? ((warning: string) => console.warn(warning));
  for (const note of trl.notes) warn(`${formatPosition(note)}: ${note.key}: ${note.text}`);
  for (const { key, text } of findings.warnings) {
    warn(`${formatPosition(positionOf(root, key))}: ${key}: ${text}`);
  }
  return config;
}

/**
 * What a reward or preprocessing module gets: the defaults, what `rewards` sets for the module,
 * and over that what it sets for the function.
 */
export function rewardOptions(
  config: ResolvedConfig,
  module: string,
  functionName?: string,
): RewardOptions {
  const defaults: Record<string, unknown> = {};
  const specs: Record<string, KeySpec<unknown>> = { ...rewardKeys };
  for (const [name, spec] of Object.entries(specs)) {
    defaults[name] = defaultValue(spec, config, config.training_type);
  }
  const own = (name: string) => Object.hasOwn(config.rewards, name) ? config.rewards[name] : {};
  return {
    ...(defaults as unknown as RewardOptions),
    ...own(module),
    ...(functionName === undefined ? {} : own(functionName)),
  };
}

function asMap(node: ConfigNode, file: string): MapNode {
  if (node.kind === "map") return node;
  const empty = node.kind === "scalar" && node.value === null;
  if (empty) return { kind: "map", position: { file }, entries: new Map() };
  throw new ConfigError([{
    ...node.position,
    key: "",
    text: "got no config, want a mapping of sections: training_type, model, dataset, training, …",
  }]);
}

function withTrainingType(root: MapNode, wanted: TrainingType | undefined): MapNode {
  if (wanted === undefined) return root;
  const given = root.entries.get("training_type")?.node;
  if (given === undefined) {
    const position: Position = { file: `train ${wanted}` };
    const node: ConfigNode = { kind: "scalar", position, value: wanted };
    return applyOverride(root, { path: ["training_type"], node });
  }
  const other = given.kind === "scalar" ? String(given.value).toLowerCase() : wanted;
  if (other !== wanted && ["sft", "dpo", "grpo", "gkd"].includes(other)) {
    const text = `got ${other}, but the command is train ${wanted}; run train ${other}`;
    throw new ConfigError([{ ...given.position, key: "training_type", text }]);
  }
  return root;
}

interface Filling {
  readonly config: ResolvedConfig;
  readonly type: TrainingType;
  readonly root: MapNode;
  readonly problems: ConfigProblem[];
}

/** Gives absent keys their defaults, in the order of the table, in place. */
function fill(table: Table<object>, target: object, prefix: string, filling: Filling): void {
  const specs: Record<string, KeySpec<unknown>> = { ...table };
  const values = target as Record<string, unknown>;
  for (const [name, spec] of Object.entries(specs)) {
    const key = prefix === "" ? name : `${prefix}.${name}`;
    if (values[name] === undefined) {
      if (spec.default.kind === "required") {
        const given = spec.default.unless?.from(filling.config) ?? null;
        if (given !== null) values[name] = given;
        else if (!hasKey(filling.root, key)) {
          const text = `missing; want ${spec.type.name}`;
          filling.problems.push({ ...positionOf(filling.root, key), key, text });
        }
        continue;
      }
      values[name] = defaultValue(spec, filling.config, filling.type);
    }
    const { table: inner, filled } = spec.type;
    if (inner !== undefined && filled) fill(inner, values[name] as object, key, filling);
  }
  // The order of the table, for the resolved file.
  const ordered = Object.fromEntries(
    Object.keys(specs).filter((name) => name in values).map((name) => [name, values[name]]),
  );
  for (const name of Object.keys(values)) delete values[name];
  Object.assign(values, ordered);
}

function defaultValue(spec: KeySpec<unknown>, config: ResolvedConfig, type: TrainingType): unknown {
  if (spec.default.kind === "derived") return spec.default.from(config);
  return spec.default.kind === "value" ? structuredClone(spec.default.values[type]) : undefined;
}

function hasKey(root: MapNode, key: string): boolean {
  return nodeAt(root, key).found;
}

/** The position of a key, or of the nearest section around it. */
function positionOf(root: MapNode, key: string): Position {
  return nodeAt(root, key).position;
}

function nodeAt(root: MapNode, key: string): { found: boolean; position: Position } {
  let node: ConfigNode = root;
  let table: Table<object> | undefined = configTable;
  let position: Position = { file: root.position.file };
  for (const name of key.split(".")) {
    if (node.kind !== "map") return { found: false, position };
    const entry: [string, { keyPosition: Position; node: ConfigNode }] | undefined = [
      ...node.entries,
    ].find(([given]) => given === name || (table && canonicalName(table, given) === name));
    if (entry === undefined) return { found: false, position };
    const specs: Record<string, KeySpec<unknown>> = { ...table };
    table = specs[name]?.type.table;
    position = entry[1].keyPosition;
    node = entry[1].node;
  }
  return { found: true, position };
}

/** By line; what has none (overrides, missing sections) comes first. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
}
