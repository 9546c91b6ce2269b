/**
 * What a model family decides: the files of its folders, the names in them, and how it writes
 * conversations and pictures. Passes, trainers and generation see none of it.
 *
 * @module
 */
import type { ImageProcessor } from "../../image/image_processor.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import type { TensorToWrite } from "../safetensors/safetensors.ts";
import type { WeightSpec } from "../weight_shapes.ts";

/** Options of {@linkcode ModelFamily.parseConfig}. */
export interface ParseConfigOptions {
  /** Called with a line for each ignored key; `console.warn` by default. */
  onWarning?: (text: string) => void;
  /** Values of absent keys; the family's defaults if not set. */
  defaults?: VLMConfig;
}

/** A tensor in a family's files. */
export interface FileTensor {
  /** Name under which it is saved. */
  readonly name: string;
  /** Other names under which files may have it. */
  readonly aliases?: readonly string[];
  /** Dims in the file, if they differ from the model's; the elements and their order do not. */
  readonly shape?: readonly number[];
}

/** What turns texts and pictures into a model's inputs. */
export interface Processing {
  /** Null if the folder has none. */
  readonly tokenizer: Tokenizer | null;
  /** Why there is no tokenizer; empty if there is one. */
  readonly tokenizerProblem: string;
  readonly imageProcessor: ImageProcessor;
  /** Id of the token that stands for one projected patch. */
  readonly imageTokenId: number;
}

/** A folder that `convert` makes of backbones, its weights aside. */
export interface BackboneFolder {
  readonly config: VLMConfig;
  /** Writes tokenizer and image settings. */
  writeFiles(folder: string): Promise<void>;
}

/** One family: a folder below `src/model/families`, listed in `families.ts`. */
export interface ModelFamily {
  /** Its name in messages, for example `nanoVLM`. */
  readonly name: string;
  /** `model_type` in its config.json files; the empty string: no `model_type`. */
  readonly modelTypes: readonly string[];
  /**
   * Makes a config from a parsed config.json.
   *
   * @param source the file's name, for messages
   * @throws {ModelConfigError} if a value is wrong or not supported
   */
  parseConfig(
    json: Record<string, unknown>,
    source: string,
    options?: ParseConfigOptions,
  ): VLMConfig;
  /**
   * The text of config.json.
   *
   * @param dtype how the weights beside it are stored
   */
  formatConfig(config: VLMConfig, dtype: "F32" | "F16" | "BF16"): string;
  /** The file's name of a weight or layer of the model, `decoder.blocks.0.attn.q_proj` or below. */
  toFileName(name: string): string;
  /** The inverse of {@linkcode ModelFamily.toFileName}. */
  toModelName(name: string): string;
  /** The tensor of the files that holds a weight. */
  fileTensor(config: VLMConfig, spec: WeightSpec): FileTensor;
  /** Names of tensors that files may have and that no weight needs. */
  ignoredTensors(config: VLMConfig): readonly string[];
  /** Tensors that are saved beside the weights. */
  extraTensors(config: VLMConfig): readonly TensorToWrite[];
  /** `__metadata__` of the saved file. */
  metadata(config: VLMConfig): Record<string, string> | undefined;
  /**
   * Opens tokenizer and image processor.
   *
   * @param folder of the model
   * @param others further folders that may have a tokenizer, tried first
   */
  openProcessing(
    folder: string,
    config: VLMConfig,
    others: readonly string[],
  ): Promise<Processing>;
  /**
   * Tokenizer and image processor from the texts of files, as their `save()` writes them: what
   * {@linkcode ModelFamily.openProcessing} gives where there are no folders, in a browser.
   *
   * @param texts by the names of the files
   * @param source where they come from, for messages
   * @throws {Error} if a file is missing or does not have the expected form
   */
  processingOf(config: VLMConfig, texts: ReadonlyMap<string, string>, source: string): Processing;
  /** Special tokens by role that `convert` adds to a language backbone's tokenizer. */
  extraTokens(): Record<string, string>;
  /** The chat template that `convert` gives it. */
  readonly chatTemplate: string;
  /**
   * What `convert` writes beside the weights.
   *
   * @param converted the backbones' dims
   * @param tokenizer with the extra tokens; null: the folder gets none
   */
  fromBackbones(converted: VLMConfig, tokenizer: Tokenizer | null): BackboneFolder;
  /** Values of black and of white in the tiles of a model that `convert` makes. */
  readonly pixelRange: readonly [low: number, high: number];
  /** Files other than config and weights that a copy of a model needs. */
  readonly companions: readonly string[];
}
