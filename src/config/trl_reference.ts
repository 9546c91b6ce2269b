/**
 * `docs/trl_keys.md`: what becomes of each key of TRL's config classes.
 *
 * @module
 */
import { configTable } from "./schema/schema.ts";
import { trlKey } from "./schema/trl_keys.ts";
import type { TrainingType } from "./types/config_types.ts";
import { canonicalName } from "./types/value_type.ts";

/** The own fields of TRL's config classes, as `bench/trl_fields.py` records them. */
export type TrlFields = Readonly<Record<string, string | Readonly<Record<string, unknown>>>>;

/** The section that holds the keys of a class. */
const SECTIONS: readonly (readonly [string, TrainingType])[] = [
  ["GRPOConfig", "grpo"],
  ["DPOConfig", "dpo"],
  ["SFTConfig", "sft"],
  ["KTOConfig", "dpo"],
  ["RLOOConfig", "grpo"],
  ["GKDConfig", "gkd"],
];

/** Keys that mean the same under another name, where a value alone does not say it. */
const RENAMED: Readonly<Record<string, string>> = {
  "RLOOConfig.loss_type": "`grpo.loss_type: rloo`",
};

/**
 * What becomes of a key: a cell of the table.
 *
 * @throws {Error} if neither the schema nor the table of TRL's keys has it
 */
function fate(section: TrainingType, name: string): readonly [fate: string, how: string] {
  const { table } = configTable[section].type;
  if (table !== undefined && canonicalName(table, name) !== undefined) {
    return ["here", `\`${section}.${name}\``];
  }
  const found = trlKey(section, name);
  if (found === undefined) {
    throw new Error(
      `Cannot say what becomes of TRL's ${section}.${name}: it is in no table; add it to the ` +
        "section's schema or to src/config/schema/trl_keys.ts",
    );
  }
  switch (found.kind) {
    case "moved":
      return ["by another name", `\`${found.to}\`; accepted under TRL's name too`];
    case "translated":
      return [
        "by another name",
        `${
          found.values.filter(([, meant]) => meant !== null)
            .map(([given, meant]) => `\`${given}\` is \`${found.to}: ${meant}\``).join(", ")
        }; else ${found.why}`,
      ];
    case "plumbing":
      return ["without meaning here", `accepted with a note: ${found.why}`];
    case "fixed":
      return [
        "without meaning here",
        `\`${found.values.join("`, `")}\` is accepted with a note: ${found.why}`,
      ];
    case "missing":
      return ["not yet", found.instead];
  }
}

/**
 * The page.
 *
 * @param fields of TRL's classes
 * @throws {Error} if a key is forgotten
 */
export function trlReference(fields: TrlFields): string {
  const parts = SECTIONS.map(([name, section]) => {
    const keys = Object.keys(fields[name]);
    const lines = keys.map((key) => {
      const [what, how] = fate(section, key);
      return `| \`${key}\` | ${what} | ${RENAMED[`${name}.${key}`] ?? how} |`;
    });
    return `## \`${name}\`: section \`${section}\`\n\n` +
      `| key | what becomes of it | how |\n| --- | --- | --- |\n${lines.join("\n")}\n`;
  });
  return `<!-- deno-fmt-ignore-file -->
<!-- Made by \`deno task config-docs\` from docs/trl_fields.json and src/config/schema. Edit those. -->

# The keys of TRL ${fields.trl}

Each class's own fields, read from the installed TRL by \`bench/trl_fields.py\`; those that it shares
with Transformers' \`TrainingArguments\` stand under \`training\` in [configs/README.md](../configs/README.md).
\`trl.experimental\`'s CPO and ORPO configs: see [papers.md](papers.md).

${parts.join("\n")}`;
}
