/**
 * The text of `embedded.ts`.
 *
 * @module
 */

/**
 * A module that holds configs as strings.
 *
 * @param texts YAML by trainer
 */
export function embeddedModule(texts: Readonly<Record<string, string>>): string {
  const escaped = (yaml: string) =>
    yaml.replaceAll("\\", "\\\\").replaceAll("`", "\\`").replaceAll("${", "\\${");
  const entries = Object.entries(texts).map(([trainer, yaml]) =>
    `  ${trainer}: {\n    file: "configs/shapes_${trainer}.yaml",\n    text: \`${
      escaped(yaml)
    }\`,\n  },\n`
  );
  return `// deno-fmt-ignore-file
/**
 * The embedded defaults: \`configs/shapes_*.yaml\` as strings, since modules that came over http have
 * no folder beside them. Made by \`deno task embed-configs\`; edit the YAML files.
 *
 * @module
 */
import type { TrainingType } from "../types/config_types.ts";

/** A config and the name of its file. */
export interface EmbeddedConfig {
  readonly file: string;
  readonly text: string;
}

/** What \`train\` runs without \`--config\`. */
export const EMBEDDED_CONFIGS: Readonly<Record<TrainingType, EmbeddedConfig>> = {
${entries.join("")}};
`;
}
