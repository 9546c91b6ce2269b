/**
 * The text of `embedded.ts`.
 *
 * @module
 */

/** The file of an embedded config in `configs/`. */
export function fileOf(name: string): string {
  return name === "drawings" ? "drawings_sft.yaml" : `shapes_${name}.yaml`;
}

/**
 * A module that holds configs as strings.
 *
 * @param texts YAML by name
 */
export function embeddedModule(texts: Readonly<Record<string, string>>): string {
  const escaped = (yaml: string) =>
    yaml.replaceAll("\\", "\\\\").replaceAll("`", "\\`").replaceAll("${", "\\${");
  const entries = Object.entries(texts).map(([name, yaml]) =>
    `  ${name}: {\n    file: "configs/${fileOf(name)}",\n    text: \`${escaped(yaml)}\`,\n  },\n`
  );
  return `// deno-fmt-ignore-file
/**
 * The embedded defaults: files of \`configs/\` as strings, since modules that came over http have
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

/**
 * What \`train\` runs without \`--config\`: \`drawings\` for SFT; \`sft\` is the small model that
 * \`dpo\` and \`grpo\` start from.
 */
export const EMBEDDED_CONFIGS: Readonly<Record<TrainingType | "drawings", EmbeddedConfig>> = {
${entries.join("")}};
`;
}
