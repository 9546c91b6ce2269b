import { assert, assertEquals } from "@std/assert";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";

const text = await Deno.readTextFile(new URL("../../../docs/papers.md", import.meta.url));

/** First cell and keys of each row of the table under a heading. */
function rows(heading: string): [string, string[]][] {
  const section = text.split(`## ${heading}\n`)[1].split("\n## ")[0];
  const lines = section.split("\n").filter((line) => /^\| [^-]/.test(line)).slice(1);
  return lines.map((line) => {
    const [paper, keys] = line.split("|").slice(1).map((cell) => cell.trim());
    return [paper, [...keys.matchAll(/`([^`]+)`/g)].map(([, key]) => key)];
  });
}

for (
  const [heading, trainer, section] of [
    ["The GRPO family", "grpo", "grpo"],
    ["Preference losses", "dpo", "dpo"],
    ["Supervised losses", "sft", "sft"],
    ["Optimizers", "sft", "training"],
    ["Distillation", "gkd", "gkd"],
  ] as const
) {
  Deno.test(`docs/papers.md: every line of "${heading}" is a config`, () => {
    const lines = rows(heading);
    assert(lines.length > 1);
    for (const [paper, keys] of lines) {
      assert(keys.length > 0, paper);
      const warnings: string[] = [];
      const config = parseConfig(EMBEDDED_CONFIGS[trainer].text, {
        trainingType: trainer,
        overrides: keys.map((key) => `${section}.${key.replace(/: /, "=")}`),
        onWarning: (warning) => warnings.push(warning),
      });
      assertEquals(warnings, [], paper);
      assertEquals(config.training_type, trainer);
    }
  });
}

Deno.test("docs/papers.md names every loss type", () => {
  for (
    const name of ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo", "rloo"]
  ) assert(text.includes(`\`loss_type: ${name}\``), name);
});
