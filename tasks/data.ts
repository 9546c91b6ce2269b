/**
 * `data show`.
 *
 * @module
 */
import { writeTextAtomically } from "../src/atomic_write.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import type { AugmentationOptions } from "../src/image/augment/plan.ts";
import type { DatasetFormat } from "../src/data/rows/formats.ts";
import { evaluationData, formatOfData } from "../src/evaluate/evaluation_data.ts";
import { renderDataPage } from "../src/inspect/data_page.ts";
import { lookAtData, type ModelEyes } from "../src/inspect/look_at_data.ts";
import { summaryRows } from "../src/inspect/summary.ts";
import type { LossTokens } from "../src/text/chat_example.ts";
import { openPretrained } from "../src/model/files/pretrained_folder.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { untilAborted } from "../src/until_aborted.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths, namedModel } from "./named_paths.ts";
import { UsageError } from "./usage_error.ts";

const FORMATS = ["vqa", "preference", "grpo"] as const;

/** What `data show` was asked for. */
export interface DataShowOptions {
  /** A file, folder or Hub id. */
  readonly data: string;
  readonly split: string | undefined;
  /** Configurations of a data set that has several; empty: its default one. */
  readonly configs: readonly string[];
  /** undefined: as the columns tell. */
  readonly format: DatasetFormat | undefined;
  /** Whose tokens and tiles are shown; undefined: none. */
  readonly model: string | undefined;
  /** `dataset.augmentation` as KEY=VALUE; empty: pictures as they are. */
  readonly augment: readonly string[];
  /** Which tokens are marked as those with a loss. */
  readonly lossTokens: LossTokens;
  /** Rows of the page. */
  readonly rows: number;
  /** File of the page; undefined: the table alone. */
  readonly out: string | undefined;
}

const options: readonly OptionSpec[] = [
  {
    name: "name",
    kind: "list",
    value: "CONFIG",
    summary: "a configuration of a data set with several; all: every one",
  },
  { name: "split", kind: "text", value: "S", summary: "the split, slices included: train[:100]" },
  {
    name: "format",
    kind: "text",
    choices: FORMATS,
    summary: "what it is for; as the columns tell",
  },
  { name: "model", kind: "text", value: "DIR", summary: "show the tokens and tiles of this model" },
  {
    name: "augment",
    kind: "list",
    value: "KEY=VALUE",
    summary: "show pictures changed by dataset.augmentation.KEY, as training does",
  },
  {
    name: "train-on-prompt",
    kind: "flag",
    summary: "mark the tokens that the loss counts with sft.train_on_prompt",
  },
  {
    name: "last-turn-only",
    kind: "flag",
    summary: "mark the tokens that the loss counts with sft.last_turn_only",
  },
  { name: "rows", kind: "integer", min: 1, value: "N", summary: "rows of the page (20)" },
  { name: "out", kind: "text", value: "F.html", summary: "write a page with the rows" },
];

/**
 * Parses the arguments of `data`.
 *
 * @throws {UsageError}
 */
export function parseDataArguments(args: readonly string[]): DataShowOptions {
  const parsed = parseOptions(args, options, ["show", "DATA"]);
  const [verb, data] = parsed.positionals;
  if (verb !== "show") throw new UsageError(`got ${JSON.stringify(verb)}, want show`);
  return {
    data,
    split: parsed.text("split"),
    configs: parsed.list("name"),
    format: FORMATS.find((format) => format === parsed.text("format")),
    model: parsed.text("model"),
    augment: parsed.list("augment"),
    lossTokens: lossTokensOf(parsed.flag("train-on-prompt"), parsed.flag("last-turn-only")),
    rows: parsed.number("rows") ?? 20,
    out: parsed.text("out"),
  };
}

/** @throws {UsageError} if both are asked for */
function lossTokensOf(trainOnPrompt: boolean, lastTurnOnly: boolean): LossTokens {
  if (trainOnPrompt && lastTurnOnly) {
    throw new UsageError("--train-on-prompt and --last-turn-only exclude each other; give one");
  }
  if (trainOnPrompt) return "all";
  return lastTurnOnly ? "last_answer" : "answers";
}

/** Tokenizer and image processor of a model's folder; no weight is read. */
async function openEyes(model: string): Promise<ModelEyes> {
  using folder = await openPretrained(model);
  const { tokenizer, imageProcessor, config, tokenizerProblem } = folder;
  if (tokenizer === null || imageProcessor === null) {
    throw new Error(`Cannot show the tokens of ${model}: ${tokenizerProblem}`);
  }
  return { tokenizer, imageProcessor, tokensPerTile: config.mp_image_token_length };
}

/**
 * The changes that `--augment` asks for.
 *
 * @throws {ConfigError} if a key does not exist or has a wrong value
 */
function augmentationOf(
  { augment }: DataShowOptions,
): (AugmentationOptions & { readonly seed: number }) | null {
  if (augment.length === 0) return null;
  const { dataset, training } = parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: augment.map((text) => `dataset.augmentation.${text}`),
  });
  const { jpeg_quality: jpegQuality, ...shares } = dataset.augmentation;
  return { ...shares, jpegQuality, seed: training.seed };
}

/** Examples whose tokens are counted. */
const MEASURED = 1000;

async function show(asked: DataShowOptions, signal: AbortSignal): Promise<void> {
  const format = asked.format ?? await untilAborted(formatOfData(asked.data, asked), signal);
  const eyes = asked.model === undefined ? null : await untilAborted(openEyes(asked.model), signal);
  const dataset = await untilAborted(evaluationData(asked.data, format, asked), signal);
  const look = await lookAtData(dataset, format, {
    eyes,
    rows: asked.out === undefined ? 0 : asked.rows,
    measured: MEASURED,
    augmentation: augmentationOf(asked),
    lossTokens: asked.lossTokens,
    signal,
  });
  signal.throwIfAborted();
  console.log(formatTable([{ header: asked.data }, { header: "" }], summaryRows(look)).trimEnd());
  if (eyes === null) console.error("--model DIR shows tokens and tiles too");
  if (asked.out === undefined) return;
  await writeTextAtomically(asked.out, await renderDataPage(look));
  console.error(`page: ${asked.out}`);
}

/** The command. */
export const command: Command = {
  name: "data",
  summary: "show what a model will see of a data set",
  usage: "show DATA [options]",
  options,
  onInterrupt: "ending",
  async run(args, { signal }) {
    const asked = parseDataArguments(args);
    await checkNamedPaths([
      ["DATA", "data", asked.data],
      ...(asked.model === undefined ? [] : namedModel("--model", asked.model)),
    ]);
    await show(asked, signal);
    return 0;
  },
};
