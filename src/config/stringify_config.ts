/**
 * Resolved configs as YAML: `config.resolved.yaml`.
 *
 * @module
 */
import { stringify } from "@std/yaml";
import type { ResolvedConfig } from "./types/config_types.ts";

/** The config as YAML that `parseConfig()` reads back to the same values. */
export function stringifyConfig(config: ResolvedConfig): string {
  // Through JSON: shared lists would become aliases, which YAML's readers need not follow.
  return stringify(JSON.parse(JSON.stringify(config)));
}
