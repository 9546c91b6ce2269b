/**
 * The contents of a model folder, ready for a backend: config, weights, tokenizer, image
 * processor and, if requested, an adapter.
 *
 * @module
 */
import { answerEnds } from "../../text/answer_end.ts";
import { resolveModelFolder } from "../../hub/model_folder.ts";
import { type AdapterWeights, readAdapter, untiedConfig } from "./adapter_files.ts";
import { readConfig } from "./config_file.ts";
import { familyOf } from "../families/families.ts";
import type { Processing } from "../families/model_family.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import type { PackedFormat } from "../../ops/half/packed_weight.ts";
import { type HostWeights, isPackable, type PackedHostWeights } from "../packed_weights.ts";
import { releaseUploaded } from "../release_memory.ts";
import { weightSpecs } from "../weight_shapes.ts";
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
export interface Pretrained extends Processing, Disposable {
  /** Folder of the weights. */
  readonly folder: string;
  readonly config: VLMConfig;
  readonly adapter: AdapterWeights | null;
  /** Pairs of nanoVLM's name and the tensor, in the order of the modules. */
  weights(): PretrainedWeights;
}

/**
 * Opens a model folder or Hub id, or a PEFT adapter's folder that names its base model.
 *
 * @param dirOrId folder, or `owner/name` on the Hub
 * @throws {ModelConfigError} if the config is missing or is of no known family
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
  const processing = await familyOf(config).openProcessing(folder, config, tokenizerFolders);
  const { tokenizer } = processing;
  if (tokenizer !== null && tokenizer.chatTemplate !== null) {
    const { problem } = answerEnds(tokenizer);
    if (problem !== null) warn(`${folder}: ${problem}`);
  }
  const weights = await openWeights(folder, config);
  try {
    const adapter = adapterFolder === undefined
      ? null
      : await readAdapter(await resolveModelFolder(adapterFolder), config);
    const whole = untiedConfig(config, adapter);
    return {
      ...processing,
      folder,
      config: whole,
      adapter,
      weights() {
        const { keepPacked, onTheWay = (read) => read } = options;
        // A tied file has the embedding under the head's name.
        const nameInFile = (name: string) =>
          adapter?.unties && name === "decoder.token_embedding.weight"
            ? "decoder.head.weight"
            : name;
        const read = (given: string, shape: readonly number[]) => {
          const name = nameInFile(given);
          const found = keepPacked && isPackable(shape) ? weights.readPacked(name) : null;
          const taken = found === null || !("bits" in found) || keepPacked?.(name, found.format);
          return found !== null && taken ? found : weights.read(name);
        };
        return onTheWay(function* (): Generator<[string, HostWeights | PackedHostWeights]> {
          for (const { name, shape } of weightSpecs(whole)) {
            const trained = adapter?.trained.get(name); // stays the adapter's
            const values = trained ?? read(name, shape);
            yield [name, values];
            if (trained === undefined) releaseUploaded(values);
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
