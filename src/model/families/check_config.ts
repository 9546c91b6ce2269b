/**
 * Checks of a model's dims.
 *
 * @module
 */
import type { VLMConfig } from "../../vlm_config.ts";

/** A config.json that does not describe a model of a known family. */
export class ModelConfigError extends Error {
  override name = "ModelConfigError";
}

/**
 * Checks that the dims fit each other. A ViT with a class token passes the check: it can run
 * alone, but its output does not fit the projector.
 *
 * @throws {ModelConfigError} if they do not; the message names the keys and a way out
 */
export function checkVLMConfig(config: VLMConfig, source = "this config"): void {
  const fail = (what: string): never => {
    throw new ModelConfigError(`Cannot use ${source}: ${what}`);
  };
  const divides = (a: keyof VLMConfig, b: keyof VLMConfig): void => {
    if (Number(config[a]) % Number(config[b]) !== 0) {
      fail(`${a} ${config[a]} is not a multiple of ${b} ${config[b]}`);
    }
  };
  divides("vit_hidden_dim", "vit_n_heads");
  divides("lm_hidden_dim", "lm_n_heads");
  divides("lm_n_heads", "lm_n_kv_heads");
  const D = config.lm_hidden_dim / config.lm_n_heads;
  if (D % 2 !== 0) {
    fail(
      `a head is lm_hidden_dim / lm_n_heads = ${D} wide, and rotary embeddings need an even width`,
    );
  }
  if (config.vit_img_size < config.vit_patch_size) {
    fail(`vit_img_size ${config.vit_img_size} is below vit_patch_size ${config.vit_patch_size}`);
  }
  if (config.vit_cls_flag) return;
  const side = Math.floor(config.vit_img_size / config.vit_patch_size);
  const factor = config.mp_pixel_shuffle_factor;
  if (side % factor !== 0) {
    fail(
      `vit_img_size / vit_patch_size = ${side} patches a side do not divide by ` +
        `mp_pixel_shuffle_factor ${factor}`,
    );
  }
  const tokens = (side / factor) ** 2;
  if (config.mp_image_token_length !== tokens) {
    fail(
      `mp_image_token_length is ${config.mp_image_token_length}, but a ${config.vit_img_size} px ` +
        `tile gives (${config.vit_img_size} / ${config.vit_patch_size} / ${factor})² = ${tokens} ` +
        `tokens; set it to ${tokens}`,
    );
  }
}
