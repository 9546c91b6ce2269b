/**
 * Builds a nanoVLM from Transformers backbones: SigLIP as vision encoder, Llama as decoder.
 *
 * @module
 */

import { RandomStream } from "../../random.ts";
import { defaultVLMConfig, type VLMConfig } from "../../vlm_config.ts";
import { checkVLMConfig } from "../families/check_config.ts";
import { isModelType } from "../families/families.ts";
import { openLanguageBackbone } from "./convert_language.ts";
import { openModelEncoder, type PixelRange } from "./convert_encoder.ts";
import { BackboneConfig, type ConvertedPart, ConvertError } from "./convert_source.ts";
import { openVisionBackbone, type VisionConfig } from "./convert_vision.ts";
import {
  type InitializeOptions,
  initializeWeight,
  normalTensor,
  WEIGHT_STD,
} from "../initialize.ts";
import type { FloatTensor } from "../safetensors/safetensors.ts";
import { type WeightSpec, weightSpecs } from "../weight_shapes.ts";

export { ConvertError } from "./convert_source.ts";

/** Inputs of {@linkcode convertBackbones}. */
export interface ConvertBackbonesOptions extends InitializeOptions {
  /** A Llama or SmolLM2 folder of Transformers. */
  languageDir: string;
  /**
   * A SigLIP or SigLIP2 folder, or a nanoVLM or SmolVLM whose encoder is taken; without one the ViT
   * is fresh, with the dims of `vlmConfig`.
   */
  visionDir?: string;
  /** Requested config keys; a backbone's own values take precedence. */
  vlmConfig?: Partial<VLMConfig>;
  /** Seed of the projector, of new vocabulary rows and of a fresh ViT. */
  seed: number;
  /** Number of the tokenizer's ids with the extra tokens; the vocabulary grows to it. */
  tokenizerSize?: number;
  /**
   * Called with a line for each requested key that a backbone overrides; `console.warn` by default.
   */
  onWarning?: (text: string) => void;
}

/** A model made of backbones. Tensors are read or drawn on request. */
export interface ConvertedModel extends Disposable {
  /** The whole config. */
  config: VLMConfig;
  /** The model's tensors, in the order of its modules. */
  specs: readonly WeightSpec[];
  /** One tensor by nanoVLM's name, float32. */
  read(name: string): FloatTensor;
  /** Closes the backbones' files. */
  close(): void;
}

/** Keys that the backbone's weights fix; another value is refused. */
const STRICT_KEYS: readonly string[] = ["vit_img_size", "vit_patch_size"];

function takeBackbone(
  config: VLMConfig,
  part: Partial<VLMConfig>,
  wished: Partial<VLMConfig>,
  folder: string,
  warn: (text: string) => void,
): VLMConfig {
  for (const key of Object.keys(part) as (keyof VLMConfig)[]) {
    if (wished[key] === undefined || wished[key] === part[key]) continue;
    const what = `vlm_config.${key} is ${wished[key]}, but ${folder} has ${part[key]}`;
    if (STRICT_KEYS.includes(key)) {
      throw new ConvertError(
        `Cannot convert: ${what}, and position embeddings are not interpolated; leave ${key} ` +
          `out, or take a backbone of that size`,
      );
    }
    warn(`${what}, which is taken`);
  }
  return { ...config, ...part };
}

/** Fills in the values that follow from the ViT's dims, unless they were set. */
function deriveProjector(config: VLMConfig, wished: Partial<VLMConfig>): VLMConfig {
  const side = Math.floor(config.vit_img_size / config.vit_patch_size);
  const factor = wished.mp_pixel_shuffle_factor ?? [4, 3, 2].find((f) => side % f === 0) ?? 1;
  // Tiles have row and column tokens up to 8.
  const tiles = Math.max(1, Math.min(8, Math.floor(2048 / config.vit_img_size)));
  return {
    ...config,
    mp_pixel_shuffle_factor: factor,
    mp_image_token_length: wished.mp_image_token_length ?? Math.floor(side / factor) ** 2,
    max_img_size: wished.max_img_size ?? tiles * config.vit_img_size,
    lm_max_length: wished.lm_max_length ??
      Math.min(config.lm_max_length, config.lm_max_position_embeddings),
  };
}

function vocabularySize(
  config: VLMConfig,
  wished: Partial<VLMConfig>,
  tokenizerSize: number,
): number {
  const base = config.lm_base_vocab_size;
  const size = wished.lm_vocab_size ??
    Math.max(base + config.extra_token_amount, tokenizerSize);
  if (size < Math.max(base, tokenizerSize)) {
    throw new ConvertError(
      `Cannot convert: vlm_config.lm_vocab_size is ${size}, but the language backbone has ` +
        `${base} rows and its tokenizer ${tokenizerSize} ids with nanoVLM's; ` +
        `set it to ${Math.max(base + config.extra_token_amount, tokenizerSize)} or leave it out`,
    );
  }
  return size;
}

/** Appends fresh rows of std 0.02. */
function growRows(tensor: FloatTensor, rows: number, seed: number, name: string): FloatTensor {
  const [had, width] = tensor.shape;
  if (had === rows) return tensor;
  const data = new Float32Array(rows * width);
  data.set(tensor.data);
  const random = new RandomStream(seed, `new vocabulary rows of ${name}`);
  data.set(normalTensor([rows - had, width], WEIGHT_STD, random), had * width);
  return { shape: [rows, width], dtype: tensor.dtype, data };
}

/** The encoder of a SigLIP folder or of a whole model. */
async function openVision(
  folder: string,
  pixels: PixelRange,
): Promise<ConvertedPart<VisionConfig>> {
  const { values } = await BackboneConfig.read(folder);
  return isModelType(values.model_type ?? "")
    ? await openModelEncoder(folder, pixels)
    : await openVisionBackbone(folder);
}

/**
 * Builds a nanoVLM from backbones: the config takes their dims, their weights get nanoVLM's names,
 * the projector is fresh, and the extra tokens get vocabulary rows after those of the source. The
 * caller closes it, or declares it with `using`.
 *
 * @throws {ConvertError} if a folder holds another architecture or the dims do not fit
 * @throws {SafetensorsError} if a weights file is missing or damaged
 * @throws {ModelConfigError} if the resulting config is none that nanoVLM can have
 */
export async function convertBackbones(options: ConvertBackbonesOptions): Promise<ConvertedModel> {
  const { languageDir, visionDir, seed } = options;
  const wished = options.vlmConfig ?? {};
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  const language = await openLanguageBackbone(languageDir);
  let vision: ConvertedPart<VisionConfig> | null = null;
  const close = (): void => {
    language[Symbol.dispose]();
    vision?.[Symbol.dispose]();
  };
  try {
    vision = visionDir === undefined
      ? null
      : await openVision(visionDir, options.pixelRange ?? [0, 1]);
    const defaults = defaultVLMConfig();
    const extra = Object.keys(wished.vlm_extra_tokens ?? defaults.vlm_extra_tokens).length;
    let config: VLMConfig = {
      ...defaults,
      extra_token_amount: extra,
      vit_model_type: visionDir ?? "fresh",
      lm_model_type: languageDir,
      lm_tokenizer: languageDir,
      ...wished,
      vlm_load_backbone_weights: false,
    };
    const sourceTied = language.config.lm_tie_weights;
    const tied = wished.lm_tie_weights ?? sourceTied;
    if (tied && !sourceTied) {
      warn(`vlm_config.lm_tie_weights drops the head of ${languageDir} for its embedding`);
    }
    const decided = { ...language.config, lm_tie_weights: tied };
    config = takeBackbone(config, decided, wished, languageDir, warn);
    if (vision !== null && visionDir !== undefined) {
      config = takeBackbone(config, vision.config, wished, visionDir, warn);
    }
    config = deriveProjector(config, wished);
    config.lm_vocab_size = vocabularySize(config, wished, options.tokenizerSize ?? 0);
    checkVLMConfig(config, "the config of the converted model");
    const specs = weightSpecs(config);
    const bySpec = new Map(specs.map((spec) => [spec.name, spec]));
    return {
      config,
      specs,
      read(name: string): FloatTensor {
        const spec = bySpec.get(name);
        if (spec === undefined) throw new ConvertError(`Cannot convert: nanoVLM has no ${name}`);
        if (name.startsWith("vision_encoder.") && vision !== null) return vision.read(name);
        if (!name.startsWith("decoder.")) return initializeWeight(spec, seed, options);
        if (name === "decoder.head.weight" || name === "decoder.token_embedding.weight") {
          const from = tied ? "decoder.token_embedding.weight" : name;
          return growRows(language.read(from), config.lm_vocab_size, seed, name);
        }
        return language.read(name);
      },
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
