/**
 * `init DATA`: a config for a data set.
 *
 * @module
 */
import { DataError } from "../src/data/data_error.ts";
import type { DatasetFormat } from "../src/data/rows/formats.ts";
import { parseConfig } from "../src/config/load_config.ts";
import { type DataFacts, dataFacts } from "../src/inspect/data_facts.ts";
import {
  shortName,
  type StartModel,
  suggestConfig,
  TRAINER_OF,
} from "../src/inspect/suggest_config.ts";
import { resolveModelFolder } from "../src/hub/model_folder.ts";
import { untilAborted } from "../src/until_aborted.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths, namedModel } from "./named_paths.ts";
import { UsageError } from "./usage_error.ts";

const FORMATS = ["vqa", "preference", "grpo"] as const;

/** The model for preferences and rewards if none is named: those need one that answers. */
const TRAINED_MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct";

/** Folders with less weights than this train whole. */
const SMALL_BYTES = 64 * 2 ** 20;

/** What `init` was asked for. */
export interface InitOptions {
  /** A file, folder or Hub id. */
  readonly data: string;
  /** undefined: a small model from scratch for SFT. */
  readonly model: string | undefined;
  readonly format: DatasetFormat | undefined;
  readonly split: string | undefined;
  /** The file to write; undefined: after the data's name. */
  readonly out: string | undefined;
  readonly force: boolean;
}

const options: readonly OptionSpec[] = [
  {
    name: "model",
    kind: "text",
    value: "DIR",
    summary: "start from this model: a folder, a run's folder or a Hub id",
  },
  {
    name: "format",
    kind: "text",
    choices: FORMATS,
    summary: "what the data is for; as the columns tell",
  },
  { name: "split", kind: "text", value: "S", summary: "the split to train on (train)" },
  { name: "out", kind: "text", value: "F.yaml", summary: "the file to write (NAME_TRAINER.yaml)" },
  { name: "force", kind: "flag", summary: "overwrite the file if it is there" },
];

/**
 * Parses the arguments of `init`.
 *
 * @throws {UsageError}
 */
export function parseInitArguments(args: readonly string[]): InitOptions {
  const parsed = parseOptions(args, options, ["DATA: a file, a folder or a Hub id"]);
  return {
    data: parsed.positionals[0],
    model: parsed.text("model"),
    format: FORMATS.find((format) => format === parsed.text("format")),
    split: parsed.text("split"),
    out: parsed.text("out"),
    force: parsed.flag("force"),
  };
}

/** Bytes of the weights of a local model; null: it is not here. */
async function weightBytes(folder: string): Promise<number | null> {
  let bytes: number | null = null;
  for await (const { name } of Deno.readDir(folder)) {
    if (name.endsWith(".safetensors")) {
      bytes = (bytes ?? 0) + (await Deno.stat(`${folder}/${name}`)).size;
    }
  }
  return bytes;
}

/** What can be told of a model without loading or downloading it. */
async function startModel(model: string): Promise<StartModel> {
  const isHere = await Deno.stat(model).then(({ isDirectory }) => isDirectory, () => false);
  if (!isHere) {
    return { name: model, trainsWhole: false, isSmolVlm: /smolvlm|idefics/i.test(model) };
  }
  const folder = await resolveModelFolder(model);
  const config: unknown = JSON.parse(
    await Deno.readTextFile(`${folder}/config.json`).catch(() => "{}"),
  );
  const type = typeof config === "object" && config !== null && "model_type" in config
    ? String(config.model_type)
    : "";
  const bytes = await weightBytes(folder);
  return {
    name: folder,
    trainsWhole: bytes !== null && bytes < SMALL_BYTES,
    isSmolVlm: /smolvlm|idefics/i.test(type),
  };
}

/** A folder of pictures without a table gets told what a table looks like. */
async function explainPictures(data: string, error: unknown): Promise<unknown> {
  if (!(error instanceof DataError)) return error;
  let pictures = 0, first = "";
  try {
    for await (const { name } of Deno.readDir(data)) {
      if (!/\.(png|jpe?g|webp|gif|bmp|tiff?)$/i.test(name)) continue;
      if (pictures++ === 0) first = name;
    }
  } catch {
    return error;
  }
  if (pictures === 0) return error;
  const row = JSON.stringify({ image: first, question: "What is it?", answer: "a cat" });
  return new DataError(
    `Cannot write a config for ${data}: it has ${pictures} pictures and no table with questions. ` +
      `Write ${data}/train.jsonl with a line for each question:\n  ${row}`,
    { cause: error },
  );
}

/** Lines that tell what was found. */
function foundLines(facts: DataFacts): string[] {
  const { format, rows, examples, columns, train, evaluation } = facts;
  const turns = examples > rows ? `, ${examples} questions` : "";
  const share = facts.rowsWithPictures === rows ? "all" : String(facts.rowsWithPictures);
  return [
    `${facts.data}: ${rows} rows${turns}, ${share} of the rows with pictures; columns ${
      columns.join(", ")
    }`,
    `format ${format}, so train ${TRAINER_OF[format]}; trains on the split ${train}, evaluates on ${
      evaluation ?? "a fifth of its rows"
    }`,
    ...Object.entries(facts.renames).map(([old, name]) => `column ${old} is read as ${name}`),
    ...(facts.skippedRows === 0 ? [] : [`skipped:\n${facts.skipped}`]),
    ...facts.notes,
  ];
}

const REWARD = `import type { RewardContext } from "@nanovlm/lab";

/** Scores each completion: a number, or null if it does not apply. Its name is its metric. */
export function myReward({ completions }: RewardContext): (number | null)[] {
  // Every column of the data is there too, by its name: one value for each completion.
  return completions.map((text) => text.trim() === "" ? 0 : 1);
}
`;

/** Writes a new file, or over one if that is asked for. */
async function writeNew(path: string, text: string, overwrite: boolean): Promise<void> {
  try {
    await Deno.writeTextFile(path, text, overwrite ? {} : { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new UsageError(
      `${path} is there already; --force overwrites it, --out F.yaml writes another file`,
    );
  }
}

async function init(asked: InitOptions, signal: AbortSignal): Promise<void> {
  const looking = dataFacts(asked.data, asked).catch(async (error) => {
    throw await explainPictures(asked.data, error);
  });
  const facts = await untilAborted(looking, signal);
  const trainer = TRAINER_OF[facts.format];
  const named = asked.model ?? (trainer === "sft" ? undefined : TRAINED_MODEL);
  const model = named === undefined ? null : await startModel(named);
  const name = shortName(asked.data);
  const file = asked.out ?? `${name}_${trainer}.yaml`;
  const suggested = suggestConfig(facts, { model, file, name });
  // A config that train would refuse is never written.
  parseConfig(suggested.yaml, { file, trainingType: trainer, onWarning: () => {} });
  await writeNew(file, suggested.yaml, asked.force);
  for (const line of foundLines(facts)) console.error(line);
  if (suggested.needsReward) {
    const written = await writeNew("my_reward.ts", REWARD, false).then(() => true, () => false);
    console.error(
      written
        ? "wrote my_reward.ts: write into it what makes an answer good"
        : "my_reward.ts was there already and stays",
    );
  }
  if (model === null) {
    console.error(
      `the model is a small one from scratch, for short answers; for more, add --model ${TRAINED_MODEL}`,
    );
  } else if (asked.model === undefined) {
    console.error(
      `it starts from ${TRAINED_MODEL}, since ${trainer.toUpperCase()} needs a model that answers; ` +
        "--model takes another one, such as the folder of a run of SFT",
    );
  }
  console.log(`wrote ${file}\n\nnext:\n${suggested.next.map((line) => `  ${line}`).join("\n")}`);
}

/** The command. */
export const command: Command = {
  name: "init",
  summary: "write a config for a data set",
  usage: "DATA [options]",
  options,
  notes: "docs/init.md has the rules behind the numbers.",
  onInterrupt: "ending",
  async run(args, { signal }) {
    const asked = parseInitArguments(args);
    await checkNamedPaths([
      ["DATA", "data", asked.data],
      ...namedModel("--model", asked.model),
    ]);
    await init(asked, signal);
    return 0;
  },
};
