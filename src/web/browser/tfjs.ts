/**
 * What a browser gets in place of `@tensorflow/tfjs`: its core alone, a third of the size. There is
 * no training, and the backends of WebGPU and wasm are loaded when one of them starts.
 *
 * @module
 */
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";

export * from "@tensorflow/tfjs-core";
