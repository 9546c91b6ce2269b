/**
 * nanoVLM's decoder: a Llama-style language model over embeddings, with a key/value cache.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { reshape } from "../ops/arithmetic.ts";
import { attention } from "../ops/attention/attention.ts";
import type { AttentionLayout } from "../ops/attention/attention_layout.ts";
import { gradientCheckpoint } from "../ops/tape/gradient_checkpoint.ts";
import { rmsNorm } from "../ops/norms.ts";
import { rope } from "../ops/layouts.ts";
import type { RotaryAngles, RotaryOptions } from "../ops/attention/rotary_angles.ts";
import { selectRows } from "../ops/row_ops.ts";
import { swiglu } from "../ops/activations.ts";
import type { VLMConfig } from "../vlm_config.ts";
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
   * Adds the new tokens' keys and values of a block and returns all that the queries attend to.
   *
   * @param block number of the block
   * @param keys [B, T, K, D], rotated
   * @param values [B, T, K, D]
   */
  extend(block: number, keys: tf.Tensor4D, values: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D];
}

/** Inputs of the decoder other than the embeddings. */
export interface DecoderInputs {
  /** Angles of the tokens' positions. */
  angles: RotaryAngles;
  /** Which keys each query attends to. */
  layout: AttentionLayout;
  /** Cache to extend and attend to; none while training. */
  cache?: KeyValueCache;
  /** Called with the name and output of each block. */
  observe?: (name: string, output: tf.Tensor) => void;
  /**
   * The M rows of [B·T] whose hidden states are needed; default: all. After its attention the last
   * block computes these rows only.
   */
  rows?: Int32Array;
}

/** The decoder's constants of rotary embedding. */
export function rotaryOptions(config: VLMConfig): RotaryOptions {
  return {
    headDim: config.lm_hidden_dim / config.lm_n_heads,
    base: config.lm_re_base,
    maxPositions: config.lm_fixed_rope ? Infinity : config.lm_max_position_embeddings,
    attentionScaling: config.lm_attn_scaling,
  };
}

/**
 * One pre-norm block: x + attention(norm(x)), then x + down(silu(gate) · up).
 *
 * @returns [B, T, C], or [1, M, C] of the wanted rows
 */
function decoderBlock(
  context: ForwardContext,
  config: VLMConfig,
  index: number,
  x: tf.Tensor3D,
  { angles, layout, cache, rows }: DecoderInputs,
): tf.Tensor3D {
  const name = `decoder.blocks.${index}`;
  const [B, T] = x.shape;
  const H = config.lm_n_heads, K = config.lm_n_kv_heads, D = config.lm_hidden_dim / H;
  const eps = config.lm_rms_eps;
  const wanted = (states: tf.Tensor3D): tf.Tensor3D =>
    rows === undefined
      ? states
      : reshape(selectRows(reshape(states, [B * T, -1]), rows), [1, rows.length, -1]);
  // Free what only attention needs before the MLP runs.
  const middle = tf.tidy(() => {
    const normed = rmsNorm(x, weight(context, `${name}.norm1.weight`), eps); // [B, T, C]
    const project = (layer: string, heads: number) =>
      reshape<tf.Tensor4D>(linearLayer(context, `${name}.attn.${layer}`, normed), [B, T, heads, D]);
    const q = project("q_proj", H); // [B, T, H, D]
    let k = project("k_proj", K); // [B, T, K, D]
    let v = project("v_proj", K); // [B, T, K, D]
    if (cache) [k, v] = cache.extend(index, rope(k, angles), v);
    const rotation = { angles, keys: cache === undefined };
    const attended = wanted(attention(q, k, v, layout, rotation)); // [B, T, C]
    const residual = wanted(x);
    return linearLayer(context, `${name}.attn.out_proj`, attended, { residual }); // [B, T, C]
  });
  const gated = tf.tidy(() => {
    const normed = rmsNorm(middle, weight(context, `${name}.norm2.weight`), eps); // [B, T, C]
    return swiglu(
      linearLayer(context, `${name}.mlp.gate_proj`, normed),
      linearLayer(context, `${name}.mlp.up_proj`, normed),
    ); // [B, T, inter]
  });
  const last = linearLayer(context, `${name}.mlp.down_proj`, gated, { residual: middle });
  return last as tf.Tensor3D;
}

/**
 * Embeddings to hidden states, after the final norm and before the head.
 *
 * @param context the model's tensors
 * @param config the model's dims
 * @param embeddings [B, T, C]
 * @param inputs positions, layout and cache
 * @returns [B, T, C], or [1, M, C] of the wanted rows
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
    const own = i === config.lm_n_blocks - 1 ? inputs : { ...inputs, rows: undefined };
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
            { ...own, angles: { cos: cos as tf.Tensor4D, sin: sin as tf.Tensor4D } },
          ),
        [x, ...tensorsBelow(context, prefix)],
        [cos, sin],
      );
    } else {
      // Free what the backward pass does not need after each block; the tape keeps the rest.
      const input = x;
      x = tf.tidy(() => decoderBlock(context, config, i, input, own)); // [B, T, C]
      if (i > 0) input.dispose();
    }
    inputs.observe?.(`decoder.blocks.${i}`, x);
  }
  return rmsNorm(x, weight(context, "decoder.norm.weight"), config.lm_rms_eps) as tf.Tensor3D;
}
