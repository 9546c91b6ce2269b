/**
 * nanoVLM's vision encoder: a SigLIP-style pre-norm ViT (Zhai et al., 2023).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { reshape } from "../ops/arithmetic.ts";
import { attention } from "../ops/attention/attention.ts";
import { embedding } from "../ops/row_ops.ts";
import { gradientCheckpoint } from "../ops/tape/gradient_checkpoint.ts";
import { layerNorm } from "../ops/norms.ts";
import { linear } from "../ops/linear.ts";
import { patches } from "../ops/layouts.ts";
import type { VLMConfig } from "../vlm_config.ts";
import {
  type ForwardContext,
  linearLayer,
  repeatable,
  replaceBelow,
  tensorsBelow,
} from "./linear_layer.ts";
import { weight } from "./weights_map.ts";

// N images, S image side, P patches (with a class token: P + 1), C channels, H heads, D head dim

/** Patches → embeddings, the class token in front if there is one, positions added. */
function embedPatches(context: ForwardContext, config: VLMConfig, images: tf.Tensor4D) {
  const name = "vision_encoder.patch_embedding";
  const C = config.vit_hidden_dim;
  const kernel = weight(context, `${name}.conv.weight`).reshape([C, -1]); // [C, 3·p·p]
  let x = linear(
    patches(images, config.vit_patch_size), // [N, P, 3·p·p]
    kernel,
    weight(context, `${name}.conv.bias`),
  ); // [N, P, C]
  if (config.vit_cls_flag) {
    const token = weight(context, `${name}.cls_token`).tile([images.shape[0], 1, 1]); // [N, 1, C]
    x = tf.concat([token, x], 1); // [N, P + 1, C]
  }
  let positions = weight(context, `${name}.position_embedding`); // [1, P, C]
  if (config.vit_position_ids) {
    const ids = Int32Array.from(config.vit_position_ids);
    positions = reshape(embedding(reshape(positions, [-1, C]), ids), [1, -1, C]); // [1, P, C]
  }
  return x.add(positions) as tf.Tensor3D; // [N, P, C]
}

/** One pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)). */
function visionBlock(context: ForwardContext, config: VLMConfig, name: string, x: tf.Tensor3D) {
  const [N, P, C] = x.shape;
  const H = config.vit_n_heads;
  const norm = (layer: string, input: tf.Tensor) =>
    layerNorm(
      input,
      weight(context, `${name}.${layer}.weight`),
      weight(context, `${name}.${layer}.bias`),
      config.vit_ln_eps,
    );
  // Free what only attention needs before the MLP runs.
  const middle = tf.tidy(() => {
    const normed = norm("ln1", x); // [N, P, C]
    const qkv = config.vit_separate_qkv
      ? ["q_proj", "k_proj", "v_proj"].map((layer) =>
        linearLayer(context, `${name}.attn.${layer}`, normed)
      )
      : tf.split(linearLayer(context, `${name}.attn.qkv_proj`, normed), 3, 2); // 3 · [N, P, C]
    const [q, k, v] = qkv
      .map((part) => reshape<tf.Tensor4D>(part, [N, P, H, C / H])); // [N, P, H, D]
    const attended = attention(q, k, v, null); // [N, P, C]
    return linearLayer(context, `${name}.attn.out_proj`, attended, { residual: x }); // [N, P, C]
  });
  const activation = "gelu";
  const inner = linearLayer(context, `${name}.mlp.fc1`, norm("ln2", middle), { activation }); // [N, P, 4C]
  const last = linearLayer(context, `${name}.mlp.fc2`, inner, { residual: middle });
  return last as tf.Tensor3D; // [N, P, C]
}

/**
 * Images to patch features, after the final norm.
 *
 * @param context the model's tensors
 * @param config the model's dims
 * @param images [N, 3, S, S]
 * @param observe called with the name and output of each block
 * @returns [N, P, C]; with a class token, its feature alone: [N, C]
 */
export function visionTransformer(
  context: ForwardContext,
  config: VLMConfig,
  images: tf.Tensor4D,
  observe?: (name: string, output: tf.Tensor) => void,
): tf.Tensor {
  let x = embedPatches(context, config, images); // [N, P, C]
  for (let i = 0; i < config.vit_n_blocks; i++) {
    const name = `vision_encoder.blocks.${i}`;
    if (context.checkpointing) {
      const contextOfRun = repeatable(context);
      x = gradientCheckpoint(
        ([input, ...tensors]) =>
          visionBlock(
            replaceBelow(contextOfRun(), `${name}.`, tensors),
            config,
            name,
            input as tf.Tensor3D,
          ),
        [x, ...tensorsBelow(context, `${name}.`)],
      );
    } else {
      // Free what the backward pass does not need after each block; the tape keeps the rest.
      const input = x;
      x = tf.tidy(() => visionBlock(context, config, name, input)); // [N, P, C]
      if (i > 0) input.dispose();
    }
    observe?.(name, x);
  }
  const last = config.vit_cls_flag ? x.slice([0, 0, 0], [-1, 1, -1]).squeeze([1]) : x;
  return layerNorm(
    last,
    weight(context, "vision_encoder.layer_norm.weight"),
    weight(context, "vision_encoder.layer_norm.bias"),
    config.vit_ln_eps,
  );
}
