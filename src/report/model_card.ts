/**
 * The README.md of a model on the Hub: what it was made of, how, and how well it does.
 *
 * Source of the header: https://huggingface.co/docs/hub/model-cards#model-card-metadata
 *
 * @module
 */
import { stringify } from "@std/yaml";
import type { ResultTable } from "./page/report_contents.ts";

/** What a card says. */
export interface ModelCard {
  /** `user/name` on the Hub. */
  readonly repo: string;
  /** sft, dpo, grpo or gkd. */
  readonly trainingType: string;
  /** Hub id or folder of the base model; null if the model began with random weights. */
  readonly base: string | null;
  /** Hub id or path of the training data. */
  readonly data: string;
  /** Whether the repository holds an adapter and not a whole model. */
  readonly isAdapter: boolean;
  readonly steps: number;
  /** Metrics of the last evaluation. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Results, as before and after. */
  readonly tables: readonly ResultTable[];
  /** The resolved configuration. */
  readonly configYaml: string;
}

const HUB_ID = /^[\w.-]+\/[\w.-]+$/;
const METHODS: ReadonlyMap<string, string> = new Map([
  ["sft", "supervised fine-tuning (SFT)"],
  ["dpo", "direct preference optimization (DPO)"],
  ["grpo", "group relative policy optimization (GRPO)"],
  ["gkd", "generalized knowledge distillation (GKD)"],
]);

/** A cell without what would end it. */
function cell(value: string | number | null): string {
  return String(value ?? "–").replaceAll("|", "\\|").replace(/\s+/g, " ").trim();
}

function markdownTable(columns: readonly string[], rows: ResultTable["rows"]): string {
  const line = (cells: readonly (string | number | null)[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(columns), line(columns.map(() => "---")), ...rows.map(line)].join("\n");
}

/** A place that a stranger can look up: a Hub id as it is, a folder by its name alone. */
export function shownPlace(place: string): string {
  if (HUB_ID.test(place) || place.startsWith("builtin:")) return place;
  return place.split(/[\\/]/).findLast((part) => part !== "") ?? place;
}

/**
 * Writes the card.
 *
 * Paths of the machine are shortened to the folder's name. A fence longer than any in the
 * configuration keeps its text together.
 *
 * @returns Markdown with a YAML header
 */
export function renderModelCard(card: ModelCard): string {
  const { repo, trainingType, base, data, isAdapter, steps, metrics, tables } = card;
  const header = {
    library_name: isAdapter ? "peft" : "nanovlm",
    pipeline_tag: "image-text-to-text",
    tags: ["vision-language-model", "nanovlm-lab", trainingType],
    ...(base !== null && HUB_ID.test(base) ? { base_model: base } : {}),
    ...(HUB_ID.test(data) ? { datasets: [data] } : {}),
  };
  const start = base === null ? "from random weights" : `from ${shownPlace(base)}`;
  const values = Object.entries(metrics).filter(([, value]) => Number.isFinite(value))
    .map(([name, value]): [string, string] => [name, String(Number(value.toPrecision(6)))]);
  const flag = isAdapter ? `--model BASE --adapter ${repo}` : `--model ${repo}`;
  const fence = "`".repeat(
    Math.max(3, ...[...card.configYaml.matchAll(/`+/g)].map(([run]) => run.length + 1)),
  );
  const sections = [
    `# ${repo.split("/").at(-1)}`,
    `Trained ${start} by ${METHODS.get(trainingType) ?? trainingType} on ${shownPlace(data)}, ` +
    `${steps} steps, with @nanovlm/lab.`,
    "## Use it",
    `\`\`\`sh\ndeno run -A jsr:@nanovlm/lab generate ${flag} --image PICTURE.png --prompt "QUESTION"\n` +
    `deno run -A jsr:@nanovlm/lab serve ${flag}\n\`\`\``,
    ...(values.length === 0
      ? []
      : ["## Last evaluation", markdownTable(["metric", "value"], values)]),
    ...tables.flatMap(({ title, columns, rows }) => [
      `## ${cell(title)}`,
      markdownTable(columns, rows),
    ]),
    "## Settings",
    `${fence}yaml\n${card.configYaml.trimEnd()}\n${fence}`,
  ];
  return `---\n${stringify(header).trimEnd()}\n---\n\n${sections.join("\n\n")}\n`;
}
