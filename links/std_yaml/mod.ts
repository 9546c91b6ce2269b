/**
 * Stand-in for `jsr:@std/yaml` over `npm:yaml`: the two exports that this project uses.
 *
 * @module
 */
import { parse as parseYaml, stringify as stringifyYaml } from "npm:yaml@2.9.1";

/** Parses one YAML document. */
export function parse(content: string): unknown {
  return parseYaml(content);
}

/** Writes a value as YAML. */
export function stringify(data: unknown): string {
  return stringifyYaml(data);
}
