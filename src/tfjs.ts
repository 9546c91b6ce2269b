/**
 * tfjs as the sources use it: core with its gradients and chained ops, and the plain CPU backend.
 * `deno.json` maps `@tensorflow/tfjs` to this module for the sources, so that a start neither
 * downloads nor loads what they do not use: layers, converter, data and the WebGL backend. Who
 * imports `npm:@tensorflow/tfjs` beside it gets the same engine, tensors and registries.
 *
 * @module
 */
import "@tensorflow/tfjs-backend-cpu";
import "./tfjs_gradients.js";

// @ts-types="npm:@tensorflow/tfjs@4.22.0"
export * from "@tensorflow/tfjs-core";
