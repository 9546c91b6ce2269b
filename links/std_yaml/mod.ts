/**
 * Stand-in for `jsr:@std/yaml` over `npm:yaml`: the two exports that this project uses.
 *
 * @module
 */
import { parse as parseYaml, stringify as stringifyYaml, YAMLParseError } from "npm:yaml@2.9.1";

/**
 * Parses one YAML document.
 *
 * @throws {SyntaxError} where the text is no YAML, as the real package does.
 */
export function parse(content: string): unknown {
  try {
    return parseYaml(content);
  } catch (error) {
    throw error instanceof YAMLParseError ? new SyntaxError(error.message) : error;
  }
}

/** Writes a value as YAML. */
export function stringify(data: unknown): string {
  return stringifyYaml(data);
}
