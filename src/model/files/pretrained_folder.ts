/**
 * The contents of a model folder, ready for a backend: config, weights, tokenizer, image
 * processor and, if requested, an adapter.
 *
 * @module
 */
import { resolveModelFolder } from "../../hub/model_folder.ts";
import { embeddedTokenizerFiles } from "../../text/embedded_tokenizer.ts";
import { usesGlobalTile } from "../../text/image_string.ts";
import { ImageProcessor } from "../../image/image_processor.ts";
import { Tokenizer } from "../../text/tokenizer.ts";
import { type AdapterWeights, readAdapter } from "./adapter_files.ts";
import { readConfig } from "./config_file.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import type { PackedFormat } from "../../ops/half/packed_weight.ts";
import { type HostWeights, isPackable, type PackedHostWeights } from "../packed_weights.ts";
import { openWeights } from "./weights.ts";

/** Pairs of nanoVLM's name and the tensor, one at a time. */
export type PretrainedWeights = Iterable<[name: string, tensor: HostWeights | PackedHostWeights]>;

/** Choices of {@linkcode openPretrained}. */
export interface OpenPretrainedOptions {
  /** Folder of a PEFT adapter to put on top. */
  readonly adapter?: string;
  /** Called with a line for each problem that is not an error; `console.warn` by default. */
  readonly onWarning?: (text: string) => void;
  /**
   * Which matrices, by nanoVLM's names, stay in 16 bits if the file stores them so, or if 16 bits
   * hold each of their float32 numbers exactly: half the memory, the same numbers, but they cannot
   * be trained. None by default.
   */
  readonly keepPacked?: (name: string, format: PackedFormat) => boolean;
  /** Maps the weights before they go to the device. */
  readonly onTheWay?: (weights: PretrainedWeights) => PretrainedWeights;
  /** Cancels the loading of weights; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** A model folder, its weights read one at a time. */
export interface Pretrained extends Disposable {
  /** Folder of the weights. */
  readonly folder: string;
  readonly config: VLMConfig;
  /** With the model's extra tokens; null if none was found. */
  readonly tokenizer: Tokenizer | null;
  /** Why there is no tokenizer; empty if there is one. */
  readonly tokenizerProblem: string;
  readonly imageProcessor: ImageProcessor;
  /** Id of the token that stands for one projected patch. */
  readonly imageTokenId: number;
  readonly adapter: AdapterWeights | null;
  /** Pairs of nanoVLM's name and the tensor, in the order of the modules. */
  weights(): PretrainedWeights;
}

/**
 * Opens a nanoVLM folder or Hub id, or a PEFT adapter's folder that names its base model.
 *
 * @param dirOrId folder, or `owner/name` on the Hub
 * @throws {ModelConfigError} if the config is missing or is not a nanoVLM's
 * @throws {WeightsError} if the weights do not fit the config
 * @throws {HubError} if no such folder or repository exists
 */
export async function openPretrained(
  dirOrId: string,
  options: OpenPretrainedOptions = {},
): Promise<Pretrained> {
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  let folder = await resolveModelFolder(dirOrId);
  let adapterFolder = options.adapter;
  const tokenizerFolders = [folder];
  if (adapterFolder === undefined && await isAdapterAlone(folder)) {
    adapterFolder = folder;
    folder = await resolveModelFolder(await baseModelOf(folder));
    tokenizerFolders.push(folder);
  }
  const config = await readConfig(folder, { onWarning: warn });
  const found = await findTokenizer(tokenizerFolders, config);
  const weights = await openWeights(folder, config);
  try {
    const adapter = adapterFolder === undefined
      ? null
      : await readAdapter(await resolveModelFolder(adapterFolder), config);
    const { tokenizer } = found;
    return {
      folder,
      config,
      tokenizer,
      tokenizerProblem: found.problem,
      imageProcessor: await findImageProcessor(folder, tokenizer),
      imageTokenId: tokenizer?.roleId("image_token") ?? config.lm_base_vocab_size,
      adapter,
      weights() {
        const { keepPacked, onTheWay = (read) => read } = options;
        const read = (name: string, shape: readonly number[]) => {
          const found = keepPacked && isPackable(shape) ? weights.readPacked(name) : null;
          const taken = found === null || !("bits" in found) || keepPacked?.(name, found.format);
          return found !== null && taken ? found : weights.read(name);
        };
        return onTheWay(function* (): Generator<[string, HostWeights | PackedHostWeights]> {
          for (const { name, shape } of weights.specs) {
            yield [name, adapter?.trained.get(name) ?? read(name, shape)];
          }
        }());
      },
      [Symbol.dispose]: () => weights.close(),
    };
  } catch (error) {
    weights.close();
    throw error;
  }
}

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile, () => false);
}

async function isAdapterAlone(folder: string): Promise<boolean> {
  return await isFile(`${folder}/adapter_config.json`) && !await isFile(`${folder}/config.json`);
}

/** The base model that an adapter's config names. */
async function baseModelOf(folder: string): Promise<string> {
  const value: unknown = JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`));
  const base = typeof value === "object" && value !== null && "base_model_name_or_path" in value
    ? value.base_model_name_or_path
    : null;
  if (typeof base === "string" && base !== "") return base;
  throw new Error(
    `Cannot load ${folder} as a model: it is an adapter whose adapter_config.json names no ` +
      `base_model_name_or_path; give the base model as the model and this folder as the adapter`,
  );
}

/**
 * The tokenizer of a model: tokenizer.json in its folder, else `lm_tokenizer` as a folder inside
 * it, beside it, as a path, or as a Hub id; with the model's extra tokens and chat template.
 */
async function findTokenizer(
  folders: readonly string[],
  config: VLMConfig,
): Promise<{ tokenizer: Tokenizer | null; problem: string }> {
  const named = config.lm_tokenizer;
  const local = [
    ...folders,
    ...(named.startsWith("/")
      ? [named]
      : folders.flatMap((folder) => [`${folder}/${named}`, `${folder}/../${named}`])),
    named,
  ];
  const prepare = async (folder: string) => ({
    tokenizer: (await Tokenizer.fromFolder(folder))
      .withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template),
    problem: "",
  });
  for (const folder of local) {
    if (await isFile(`${folder}/tokenizer.json`)) return await prepare(folder);
  }
  if (named === "builtin:shapes") {
    const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles());
    return {
      tokenizer: tokenizer.withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template),
      problem: "",
    };
  }
  const missing = `${folders[0]} has no tokenizer.json, and lm_tokenizer ${JSON.stringify(named)} `;
  if (!/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(named)) {
    return { tokenizer: null, problem: `${missing}is not a folder in it or beside it` };
  }
  try {
    return await prepare(await resolveModelFolder(named, { weights: false }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { tokenizer: null, problem: `${missing}cannot be loaded: ${reason}` };
  }
}

/** The image processor of a folder, with a global tile only if the tokenizer has its token. */
async function findImageProcessor(
  folder: string,
  tokenizer: Tokenizer | null,
): Promise<ImageProcessor> {
  const processor = await ImageProcessor.fromPretrained(folder);
  if (tokenizer === null || usesGlobalTile(tokenizer) || !processor.options.globalTile) {
    return processor;
  }
  const { normalize, ...options } = processor.options;
  return new ImageProcessor({
    ...options,
    globalTile: false,
    ...(normalize === null ? {} : { normalize }),
  });
}
