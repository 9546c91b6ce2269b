/**
 * nanoVLM's decoder: a Llama-style language model over embeddings, with a key/value cache.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { attention } from "../ops/attention.ts";
import type { AttentionLayout } from "../ops/attention_layout.ts";
import { gradientCheckpoint } from "../ops/gradient_checkpoint.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import { rope, type RotaryAngles, type RotaryOptions } from "../ops/rope.ts";
import { swiglu } from "../ops/swiglu.ts";
import type { VLMConfig } from "./config.ts";
import {
  type ForwardContext,
  linearLayer,
  repeatable,
  replaceBelow,
  tensorsBelow,
} from "./linear_layer.ts";
import { weight } from "./weights_map.ts";

// B batch, T tokens, C channels, H query heads, K key/value heads, D head dim

/** Rotated keys and values of each block, for cached decoding. */
export interface KeyValueCache {
  /**
   * Adds the new tokens' keys and values of a block and returns all that are to be attended.
   *
   * @param block number of the block
   * @param keys [B, T, K, D], rotated
   * @param values [B, T, K, D]
   */
  extend(block: number, keys: tf.Tensor4D, values: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D];
}

/** What the decoder needs beside the embeddings. */
export interface DecoderInputs {
  /** Angles of the tokens' positions. */
  angles: RotaryAngles;
  /** Who sees whom. */
  layout: AttentionLayout;
  /** Cache to extend and attend to; none while training. */
  cache?: KeyValueCache;
  /** Called with the name and output of each block. */
  observe?: (name: string, output: tf.Tensor) => void;
}

/** The decoder's constants of rotary embedding. */
export function rotaryOptions(config: VLMConfig): RotaryOptions {
  return {
    headDim: config.lm_hidden_dim / config.lm_n_heads,
    base: config.lm_re_base,
    maxPositions: config.lm_max_position_embeddings,
    attentionScaling: config.lm_attn_scaling,
  };
}

/** One pre-norm block: x + attention(norm(x)), then x + down(silu(gate) · up). */
function decoderBlock(
  context: ForwardContext,
  config: VLMConfig,
  index: number,
  x: tf.Tensor3D,
  { angles, layout, cache }: DecoderInputs,
): tf.Tensor3D {
  const name = `decoder.blocks.${index}`;
  const [B, T] = x.shape;
  const H = config.lm_n_heads, K = config.lm_n_kv_heads, D = config.lm_hidden_dim / H;
  const eps = config.lm_rms_eps;
  const normed = rmsNorm(x, weight(context, `${name}.norm1.weight`), eps); // [B, T, C]
  const project = (layer: string, heads: number) =>
    linearLayer(context, `${name}.attn.${layer}`, normed).reshape([B, T, heads, D]) as tf.Tensor4D;
  const q = rope(project("q_proj", H), angles); // [B, T, H, D]
  let k = rope(project("k_proj", K), angles); // [B, T, K, D]
  let v = project("v_proj", K); // [B, T, K, D]
  if (cache) [k, v] = cache.extend(index, k, v);
  const attended = attention(q, k, v, layout); // [B, T, C]
  const middle = x.add(linearLayer(context, `${name}.attn.out_proj`, attended)); // [B, T, C]
  const normed2 = rmsNorm(middle, weight(context, `${name}.norm2.weight`), eps); // [B, T, C]
  const gated = swiglu(
    linearLayer(context, `${name}.mlp.gate_proj`, normed2),
    linearLayer(context, `${name}.mlp.up_proj`, normed2),
  ); // [B, T, inter]
  return middle.add(linearLayer(context, `${name}.mlp.down_proj`, gated)) as tf.Tensor3D;
}

/**
 * Embeddings to hidden states, after the final norm and before the head.
 *
 * @param context the model's tensors
 * @param config the model's dims
 * @param embeddings [B, T, C]
 * @param inputs positions, layout and cache
 * @returns [B, T, C]
 */
export function languageModel(
  context: ForwardContext,
  config: VLMConfig,
  embeddings: tf.Tensor3D,
  inputs: DecoderInputs,
): tf.Tensor3D {
  let x = embeddings;
  for (let i = 0; i < config.lm_n_blocks; i++) {
    const prefix = `decoder.blocks.${i}.`;
    if (context.checkpointing) {
      const { cos, sin } = inputs.angles;
      const contextOfRun = repeatable(context);
      x = gradientCheckpoint(
        ([input, ...tensors], [cos, sin]) =>
          decoderBlock(
            replaceBelow(contextOfRun(), prefix, tensors),
            config,
            i,
            input as tf.Tensor3D,
            { ...inputs, angles: { cos: cos as tf.Tensor4D, sin: sin as tf.Tensor4D } },
          ),
        [x, ...tensorsBelow(context, prefix)],
        [cos, sin],
      );
    } else x = decoderBlock(context, config, i, x, inputs); // [B, T, C]
    inputs.observe?.(`decoder.blocks.${i}`, x);
  }
  return rmsNorm(x, weight(context, "decoder.norm.weight"), config.lm_rms_eps) as tf.Tensor3D;
}
