/**
 * `convert`.
 *
 * @module
 */
import { parseModelOverrides } from "../src/config/override.ts";
import type { VLMConfig } from "../src/vlm_config.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths, namedModel } from "./named_paths.ts";
import { required } from "./required.ts";

/** What `convert` was asked for. */
export interface ConvertOptions {
  /** The family of the folder. */
  readonly family: string;
  /** A Llama or SmolLM2 folder. */
  readonly language: string;
  /** A SigLIP or SigLIP2 folder, or a whole model's; undefined: a fresh ViT. */
  readonly vision: string | undefined;
  /** The keys that `--set vlm_config.KEY=VALUE` gave. */
  readonly vlmConfig: Partial<VLMConfig>;
  /** From `--set init_position_embedding=…`; for a fresh ViT. */
  readonly initPositionEmbedding: "uniform" | "normal" | "sincos";
  /** From `--set initializer_range=…`; for a fresh ViT and the projector. */
  readonly initializerRange: number;
  readonly seed: number;
  readonly out: string;
}

const options: readonly OptionSpec[] = [
  {
    name: "family",
    kind: "text",
    value: "nanovlm|smolvlm",
    summary: "whose folder it becomes (nanovlm)",
  },
  { name: "language", kind: "text", value: "DIR", summary: "a Llama or SmolLM2 folder" },
  {
    name: "vision",
    kind: "text",
    value: "DIR",
    summary: "a SigLIP folder, or a model whose encoder is taken; without it a fresh ViT",
  },
  {
    name: "set",
    kind: "list",
    value: "vlm_config.key=value",
    summary: "a key of VLMConfig, or init_position_embedding=normal",
  },
  { name: "seed", kind: "integer", min: 0, value: "N", summary: "of what is fresh (0)" },
  { name: "out", kind: "text", value: "DIR", summary: "output folder" },
];

/**
 * Parses the arguments of `convert`.
 *
 * @throws {UsageError}
 */
export function parseConvertArguments(args: readonly string[]): ConvertOptions {
  const parsed = parseOptions(args, options);
  return {
    family: parsed.text("family") ?? "nanovlm",
    language: required(parsed, "language"),
    vision: parsed.text("vision"),
    ...parseModelOverrides(parsed.list("set")),
    seed: parsed.number("seed") ?? 0,
    out: required(parsed, "out"),
  };
}

/** The command. */
export const command: Command = {
  name: "convert",
  summary: "build a nanoVLM or a SmolVLM from SigLIP and Llama folders",
  usage: "--language DIR [--vision DIR] --out DIR [options]",
  options,
  async run(args) {
    const { family, language, vision, out, ...fresh } = parseConvertArguments(args);
    await checkNamedPaths([
      ["--language", "model", language],
      ...namedModel("--vision", vision),
    ]);
    const { resolveModelFolder } = await import("../src/hub/model_folder.ts");
    const { convert } = await import("../src/model/convert/convert_folder.ts");
    const { config, parameters, hasTokenizer } = await convert({
      family,
      languageDir: await resolveModelFolder(language),
      visionDir: vision === undefined ? undefined : await resolveModelFolder(vision),
      ...fresh,
      outDir: out,
      onWarning: (text) => console.error(`warning: ${text}`),
    });
    console.log(
      `${out}: ${(parameters / 1e6).toFixed(1)} million parameters; vision ` +
        `${config.vit_n_blocks} blocks of ${config.vit_hidden_dim}` +
        `${vision === undefined ? " (fresh)" : ""}, decoder ${config.lm_n_blocks} blocks of ` +
        `${config.lm_hidden_dim}, vocabulary ${config.lm_vocab_size}` +
        `${hasTokenizer ? "" : "; no tokenizer"}`,
    );
    return 0;
  },
};
