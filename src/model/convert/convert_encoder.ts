/**
 * Takes the vision encoder of a trained nanoVLM or SmolVLM, for a model with another decoder.
 *
 * @module
 */
import { readConfig } from "../files/config_file.ts";
import { openWeights } from "../files/weights.ts";
import { familyOf } from "../families/families.ts";
import type { FloatTensor } from "../safetensors/safetensors.ts";
import { BackboneConfig, type ConvertedPart } from "./convert_source.ts";
import { joinRows, type VisionConfig } from "./convert_vision.ts";

// C width of the ViT, P side of a patch

/** Values of black and of white in a tile, for one channel. */
export type PixelRange = readonly [low: number, high: number];

/** Keys of VLMConfig that the encoder decides. */
const KEYS: readonly (keyof VisionConfig)[] = [
  "vit_hidden_dim",
  "vit_inter_dim",
  "vit_patch_size",
  "vit_img_size",
  "vit_n_heads",
  "vit_dropout",
  "vit_n_blocks",
  "vit_ln_eps",
  "vit_cls_flag",
];

/**
 * The first layer for pixels of another range: what it computes of a picture stays the same.
 * With x = a·y + b for a channel's values before and after, W·x + c = (a·W)·y + (c + b·ΣW).
 *
 * @param weight [C, 3, P, P]; changed in place
 * @param bias [C]; changed in place
 * @param from of each channel, the values that the layer was trained on
 * @param to the values that it gets
 */
export function changePixelRange(
  weight: Float32Array,
  bias: Float32Array,
  { from, to: [low, high] }: { readonly from: readonly PixelRange[]; readonly to: PixelRange },
): void {
  const area = weight.length / (bias.length * from.length);
  for (let output = 0; output < bias.length; output++) {
    for (let channel = 0; channel < from.length; channel++) {
      const [lowest, highest] = from[channel];
      const scale = (highest - lowest) / (high - low);
      const offset = lowest - scale * low;
      const start = (output * from.length + channel) * area;
      let sum = 0;
      for (let i = start; i < start + area; i++) {
        sum += weight[i];
        weight[i] *= scale;
      }
      bias[output] += offset * sum;
    }
  }
}

/**
 * Opens the vision encoder of a model folder. Its first layer is adapted to the pixel values of
 * the new model's image processing, so that a tile gives the same features as before.
 *
 * @param pixels values of black and of white in the new model's tiles
 * @throws {ConvertError} if the encoder has a class token
 * @throws {WeightsError} if the weights do not fit the config
 */
export async function openModelEncoder(
  folder: string,
  pixels: PixelRange,
): Promise<ConvertedPart<VisionConfig>> {
  const config = await readConfig(folder);
  if (config.vit_cls_flag) {
    new BackboneConfig(`${folder}/config.json`, {}).fail(
      "vit_cls_flag is true, and a class token is not carried over; take an encoder without one",
    );
  }
  const { imageProcessor } = await familyOf(config).openProcessing(folder, config, [folder]);
  const weights = await openWeights(folder, config, { parts: ["vision_encoder"] });
  const names = new Set(weights.specs.map(({ name }) => name));
  const first = ["weight", "bias"].map((kind) => `vision_encoder.patch_embedding.conv.${kind}`);
  const read = (name: string): FloatTensor => {
    // SmolVLM's encoder has three layers where nanoVLM's has one.
    if (names.has(name)) return weights.read(name);
    return joinRows(
      ["q", "k", "v"].map((which) => weights.read(name.replace(".qkv_proj.", `.${which}_proj.`))),
    );
  };
  return {
    config: Object.fromEntries(KEYS.map((key) => [key, config[key]])) as VisionConfig,
    read(name) {
      if (!first.includes(name)) return read(name);
      const [weight, bias] = first.map(read);
      const from = [0, 1, 2].map((channel) => imageProcessor.pixelRange(channel));
      changePixelRange(weight.data, bias.data, { from, to: pixels });
      return name === first[0] ? weight : bias;
    },
    [Symbol.dispose]: () => weights.close(),
  };
}
