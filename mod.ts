/**
 * Train nanoVLM, a small vision-language model, with SFT, DPO and GRPO on Deno's WebGPU.
 *
 * @module
 */
export { defaultVLMConfig, type VLMConfig } from "./src/model/config.ts";
