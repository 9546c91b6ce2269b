/**
 * YAML text as a tree of values that know the line they came from.
 *
 * @module
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from "yaml";
import { ConfigError, type Position } from "../config_error.ts";

/** A mapping: key to the position of the key and the value. */
export interface MapNode {
  readonly kind: "map";
  readonly position: Position;
  readonly entries: Map<string, { readonly keyPosition: Position; readonly node: ConfigNode }>;
}

/** A sequence. */
export interface ListNode {
  readonly kind: "list";
  readonly position: Position;
  readonly items: readonly ConfigNode[];
}

/** A string, number, boolean or null. */
export interface ScalarNode {
  readonly kind: "scalar";
  readonly position: Position;
  readonly value: string | number | boolean | null;
  /** The characters in the YAML, if they are known. */
  readonly written?: string;
}

/** A value and where it was written. */
export type ConfigNode = MapNode | ListNode | ScalarNode;

// A config has some hundred values. The bound stops aliases that multiply ("billion laughs") and
// aliases that point at their own parents.
const MAX_NODES = 20_000;
const MAX_DEPTH = 100;

/**
 * Parses YAML 1.2 into positioned nodes. A key given twice is an error, and so is a tag that is
 * not YAML's own.
 *
 * @param text One YAML document.
 * @param file Its name in messages.
 * @returns The document's root; a null scalar for an empty document.
 * @throws {ConfigError} if the text is no YAML.
 */
export function parseConfigNode(text: string, file: string): ConfigNode {
  const lines = new LineCounter();
  const document = parseOrFail(text, lines, file);
  const at = (offset: number): Position => ({ file, line: lines.linePos(offset).line });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    throw new ConfigError(faults.map((fault) => ({
      ...at(fault.pos[0]),
      key: "",
      text: fault.code === "DUPLICATE_KEY"
        ? `the key "${wordAt(text, fault.pos[0])}" is given twice; remove one of them`
        : `not YAML: ${fault.message}`,
    })));
  }

  let count = 0;
  function convert(node: unknown, parent: Position, depth = 0): ConfigNode {
    if (++count > MAX_NODES || depth > MAX_DEPTH) {
      const text =
        `more than ${MAX_NODES} values, or nested more than ${MAX_DEPTH} deep; an alias ` +
        "that repeats itself?";
      throw new ConfigError([{ ...parent, key: "", text }]);
    }
    const range = (node as Node | null)?.range;
    const position = range ? at(range[0]) : parent;
    if (isAlias(node)) return convert(node.resolve(document), position, depth + 1);
    if (isMap(node)) {
      const entries: MapNode["entries"] = new Map();
      for (const { key, value } of node.items) {
        const keyPosition = at((key as Node).range?.[0] ?? 0);
        const name = isScalar(key) ? String(key.value) : String(key);
        entries.set(name, { keyPosition, node: convert(value, keyPosition, depth + 1) });
      }
      return { kind: "map", position, entries };
    }
    if (isSeq(node)) {
      return {
        kind: "list",
        position,
        items: node.items.map((item) => convert(item, position, depth + 1)),
      };
    }
    const value = isScalar(node) ? node.value : null;
    const plain = typeof value === "string" || typeof value === "number" ||
      typeof value === "boolean" || value === null;
    return {
      kind: "scalar",
      position,
      value: plain ? value : String(value),
      ...(isScalar(node) && node.source !== undefined ? { written: node.source } : {}),
    };
  }
  return convert(document.contents, { file, line: 1 });
}

function parseOrFail(text: string, lineCounter: LineCounter, file: string): Document.Parsed {
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    // Brackets nested by the thousand overflow the parser's stack.
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError([{ file, key: "", text: `not YAML: ${why}` }]);
  }
}

/** The key that starts at an offset of the text. */
function wordAt(text: string, offset: number): string {
  return /^["']?([^"':\s]+)/.exec(text.slice(offset))?.[1] ?? "";
}

/** A value in words, for messages: `"fast" (a string)`, `5 (a number)`, `a list`. */
export function describeNode(node: ConfigNode): string {
  if (node.kind === "map") return "a mapping";
  if (node.kind === "list") return "a list";
  if (node.value === null) return "null";
  if (typeof node.value === "string") {
    const shown = node.value.length > 80 ? `${node.value.slice(0, 77)}…` : node.value;
    return `${JSON.stringify(shown)} (a string)`;
  }
  return `${node.value} (a ${typeof node.value})`;
}
