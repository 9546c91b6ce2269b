/**
 * Fresh weights from a seed. Each tensor has its own random stream, named after it, so that
 * its values depend on no other tensor and no order.
 *
 * @module
 */

import { RandomStream } from "../random.ts";
import type { VLMConfig } from "../vlm_config.ts";
import type { FloatTensor } from "./safetensors/safetensors.ts";
import { sincosPositions } from "./sincos_positions.ts";
import { elementCount } from "../element_count.ts";
import { type WeightSpec, weightSpecs } from "./weight_shapes.ts";

/** How a fresh ViT is initialized. */
export interface InitializeOptions {
  /**
   * `uniform` (nanoVLM's): position embeddings uniform in [0, 1), patch convolution of std 0.02.
   * `normal`: position embeddings of std 0.02 and patch convolution of std 2/√fan_in, from which
   * an untrained ViT learns; with nanoVLM's, position embeddings are much larger than pixels. The
   * convolution's bias is then −m Σ of its weights, with m the middle of
   * `pixelRange`, which centres the pixels.
   * `sincos`: as `normal`, with position embeddings of sines and cosines ({@linkcode
   * sincosPositions}): places and neighbours are told apart from the first step.
   */
  initPositionEmbedding?: "uniform" | "normal" | "sincos";
  /** std of linear layers and embeddings (Transformers' `initializer_range`); 0.02 by default. */
  initializerRange?: number;
  /** Values of black and of white in a tile; 0 and 1 by default. */
  pixelRange?: readonly [low: number, high: number];
}

/** std of nanoVLM's linear layers and embeddings. */
export const WEIGHT_STD = 0.02;

/** Normal numbers of a given std. */
export function normalTensor(
  shape: readonly number[],
  std: number,
  random: RandomStream,
): Float32Array {
  const data = new Float32Array(elementCount(shape));
  for (let i = 0; i < data.length; i++) data[i] = std * random.nextNormal();
  return data;
}

/** Uniform numbers in [low, high). */
export function uniformTensor(
  shape: readonly number[],
  low: number,
  high: number,
  random: RandomStream,
): Float32Array {
  const data = new Float32Array(elementCount(shape));
  for (let i = 0; i < data.length; i++) data[i] = low + (high - low) * random.nextFloat();
  return data;
}

function middle([low, high]: readonly [low: number, high: number]): number {
  return (low + high) / 2;
}

/** −mean Σ of each output channel's kernel: the bias that moves the pixels' mean to 0. */
function centringBias(kernel: FloatTensor, pixelMean: number): Float32Array {
  const [outputs] = kernel.shape;
  const fanIn = kernel.data.length / outputs;
  return Float32Array.from({ length: outputs }, (_, output) => {
    const row = kernel.data.subarray(output * fanIn, (output + 1) * fanIn);
    return -pixelMean * row.reduce((sum, value) => sum + value, 0);
  });
}

/**
 * One fresh tensor, by nanoVLM's rules: linear layers, embeddings and the patch convolution normal
 * with std 0.02, biases and the class token 0, norms 1, position embeddings uniform in [0, 1).
 * Source: the `_init_weights` of its model files.
 */
export function initializeWeight(
  spec: WeightSpec,
  seed: number,
  options: InitializeOptions = {},
): FloatTensor {
  const { name, shape, kind, kernelShape } = spec;
  const small = (options.initPositionEmbedding ?? "uniform") !== "uniform";
  const random = new RandomStream(seed, `weight ${name}`);
  const draw = (): Float32Array => {
    switch (kind) {
      case "norm":
        return new Float32Array(elementCount(shape)).fill(1);
      case "bias":
      case "class_token":
        return new Float32Array(elementCount(shape));
      case "patch_bias":
        return small && kernelShape
          ? centringBias(
            initializeWeight(
              { ...spec, name: name.replace(/bias$/, "weight"), shape: kernelShape, kind: "patch" },
              seed,
              options,
            ),
            middle(options.pixelRange ?? [0, 1]),
          )
          : new Float32Array(elementCount(shape));
      case "position":
        if (options.initPositionEmbedding === "sincos") return sincosPositions(shape[1], shape[2]);
        return small ? normalTensor(shape, WEIGHT_STD, random) : uniformTensor(shape, 0, 1, random);
      case "patch":
        return normalTensor(
          shape,
          small ? 2 / Math.sqrt(elementCount(shape.slice(1))) : WEIGHT_STD,
          random,
        );
      default:
        return normalTensor(shape, options.initializerRange ?? WEIGHT_STD, random);
    }
  };
  return { shape: [...shape], dtype: "F32", data: draw() };
}

/**
 * Fresh weights of a whole nanoVLM, one at a time.
 *
 * @returns pairs of nanoVLM's name and the tensor, in the order of the modules
 */
export function* initializeWeights(
  config: VLMConfig,
  seed: number,
  options: InitializeOptions = {},
): Generator<[name: string, tensor: FloatTensor]> {
  for (const spec of weightSpecs(config)) {
    yield [spec.name, initializeWeight(spec, seed, options)];
  }
}

/** How LoRA's A is initialized; B is always 0. */
export type LoraInitialization = boolean | "gaussian";

/**
 * A fresh LoRA pair, as PEFT makes it: A uniform in ±1/√in (Kaiming with a = √5) if
 * `init_lora_weights` is true, normal with std 1/r if it is `gaussian`; B 0, so that the
 * adapted layer starts as the base layer. With `false` B is drawn like A, for tests.
 *
 * @param module for example `decoder.blocks.0.attn.q_proj`
 * @param shape of the layer's weight, [out, in]
 * @returns loraA [r, in], loraB [out, r]
 */
export function initializeLora(
  module: string,
  shape: readonly number[],
  r: number,
  seed: number,
  initialization: LoraInitialization = true,
): { loraA: FloatTensor; loraB: FloatTensor } {
  const [outputs, inputs] = shape;
  const random = new RandomStream(seed, `lora_A ${module}`);
  const bound = 1 / Math.sqrt(inputs);
  const a = initialization === "gaussian"
    ? normalTensor([r, inputs], 1 / r, random)
    : uniformTensor([r, inputs], -bound, bound, random);
  const boundB = 1 / Math.sqrt(r);
  const b = initialization === false
    ? uniformTensor([outputs, r], -boundB, boundB, new RandomStream(seed, `lora_B ${module}`))
    : new Float32Array(outputs * r);
  return {
    loraA: { shape: [r, inputs], dtype: "F32", data: a },
    loraB: { shape: [outputs, r], dtype: "F32", data: b },
  };
}

/**
 * DoRA's magnitudes at the start: the norm of each row of W + scaling · B A, which with B = 0 is
 * that of W (Liu et al., 2024, eq. 5).
 *
 * @param weight [out, in]
 * @returns [out]
 */
export function rowNorms(weight: Float32Array, outputs: number): Float32Array {
  const inputs = weight.length / outputs;
  const norms = new Float32Array(outputs);
  for (let row = 0; row < outputs; row++) {
    let sum = 0;
    for (let i = row * inputs; i < (row + 1) * inputs; i++) sum += weight[i] * weight[i];
    norms[row] = Math.sqrt(sum);
  }
  return norms;
}
