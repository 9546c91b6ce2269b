/**
 * `configs/README.md`, out of the schema.
 *
 * @module
 */
import { configTable } from "./schema/schema.ts";
import type { Default, KeySpec, Table } from "./types/value_type.ts";

/** The page that documents every key. `deno task config-docs` writes it. */
export function configReference(): string {
  const sections: Record<string, KeySpec<unknown>> = { ...configTable };
  const parts = Object.entries(sections).flatMap(([name, spec]) => section(name, spec));
  return `<!-- deno-fmt-ignore-file -->
<!-- Made by \`deno task config-docs\` from src/config/schema*.ts. Edit those. -->

# Configuration

A run is one YAML file: \`deno task train sft --config FILE\`. NanoVLM-Lab's files run unchanged, but
for their Python modules, whose TypeScript replacements the error names. \`--set section.key=value\`
overrides a key; the value is YAML (\`5e-5\`, \`null\`, \`[a, b]\`). Values follow YAML 1.2, and \`5e-5\` is
a number. A key that is not here is an error that names the file, the line and the nearest key; so is
a wrong type. \`null\` is allowed only if the type says so, or for an empty section, list or mapping.
The filled-in config is written to \`OUTPUT_DIR/config.resolved.yaml\`.

| file | what it trains |
| --- | --- |
| \`drawings_sft.yaml\`, \`shapes_dpo.yaml\`, \`shapes_grpo.yaml\`, \`shapes_gkd.yaml\` | tiny models on pictures drawn by code: what \`train\` runs without \`--config\` |
| \`shapes_sft.yaml\` | the model that the last three start from, on smaller pictures |
| \`easy_vqa.yaml\`, \`easy_vqa_grpo.yaml\` | a small model from scratch on easy-VQA, and GRPO on it |
| \`easy_vqa_smolvlm.yaml\` | a SmolVLM of SmolLM2-135M and that model's encoder, with LoRA |
| \`sft_230m.yaml\`, \`dpo_230m.yaml\`, \`grpo_230m.yaml\` | the 230M nanoVLM with LoRA |
| \`smolvlm_256m_sft.yaml\`, \`…_dpo.yaml\`, \`…_grpo.yaml\` | SmolVLM-256M with LoRA on its decoder |
| \`gspo_230m.yaml\`, \`dapo_230m.yaml\`, \`sapo_230m.yaml\` | GRPO's variants |

## The ten keys that matter

Begin with \`deno task init DATA\`, which sets them for your data, and change one at a time.

${keysThatMatter()}

${parts.join("\n")}`;
}

/** The table of the keys with advice, in the order of the schema. */
function keysThatMatter(): string {
  const lines: string[] = [];
  const visit = (table: Table<object>, prefix: string) => {
    const specs: Record<string, KeySpec<unknown>> = { ...table };
    for (const [name, { advice, default: value, type }] of Object.entries(specs)) {
      if (advice !== undefined) {
        const cells = [`\`${prefix}${name}\``, advice.range, describeDefault(value), advice.choose];
        lines.push(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
      }
      if (type.table !== undefined) visit(type.table, `${prefix}${name}.`);
    }
  };
  visit(configTable, "");
  return `| key | usual range | default | how to choose |\n| --- | --- | --- | --- |\n${
    lines.join("\n")
  }`;
}

function section(name: string, spec: KeySpec<unknown>): string[] {
  const level = "#".repeat(2 + name.split(".").length - 1);
  const { table, anyKey } = spec.type;
  const inner = table ?? anyKey?.table;
  if (inner === undefined) {
    return [`${level} \`${name}\`\n`, `${rows({ [name]: spec })}\n`];
  }
  const keys: Record<string, KeySpec<unknown>> = { ...inner };
  const nested = Object.entries(keys).filter(([, key]) =>
    (key.type.table ?? key.type.anyKey?.table) !== undefined
  );
  return [
    `${level} \`${name}\`\n\n${spec.meaning}\n`,
    ...(table === undefined ? ["Each entry:\n"] : []),
    `${rows(keys)}\n`,
    ...nested.flatMap(([key, inside]) => section(`${name}.${key}`, inside)),
  ];
}

function rows(table: Table<object>): string {
  const specs: Record<string, KeySpec<unknown>> = { ...table };
  const lines = Object.entries(specs).map(([name, { type, default: value, source, ...spec }]) => {
    const aliases = spec.aliases === undefined ? "" : ` (also \`${spec.aliases.join("`, `")}\`)`;
    const cells = [
      `\`${name}\`${aliases}`,
      type.table === undefined ? type.name : "see below",
      type.table === undefined ? describeDefault(value) : "",
      spec.meaning,
      source,
    ];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return `| key | type | default | meaning | source of the default |\n| --- | --- | --- | --- | --- |\n${
    lines.join("\n")
  }`;
}

function describeDefault(value: Default<unknown>): string {
  if (value.kind === "required") {
    return value.unless === undefined ? "required" : `required, unless ${value.unless.rule}`;
  }
  if (value.kind === "derived") return value.rule;
  const shown = Object.entries(value.values).map(([trainer, one]) => [trainer, show(one)]);
  const texts = new Set(shown.map(([, text]) => text));
  return texts.size === 1
    ? shown[0][1]
    : shown.map(([trainer, text]) => `${trainer}: ${text}`).join("; ");
}

function show(value: unknown): string {
  if (typeof value === "number" && value > 0 && value < 1e-3) {
    return `\`${value.toExponential().replace("e-0", "e-")}\``;
  }
  if (Array.isArray(value)) return `\`[${value.join(", ")}]\``;
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}
