/**
 * Patches, pixel shuffle and rotary embedding on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { launch } from "./runtime/launch.ts";

// B batch, T tokens, H heads, D head dim, N images, P patches, C channels

/** images [N, channels, S, S] → [N, (S/p)², channels·p·p]. */
export function patches(
  module: KernelModule,
  images: tf.Tensor4D,
  patchSize: number,
): tf.Tensor3D {
  const [N, channels, S] = images.shape;
  const side = Math.floor(S / patchSize);
  const move = (from: tf.Tensor, shape: number[], inverse: 0 | 1): tf.Tensor =>
    launch(module, {
      name: "NanoPatches",
      inputs: { from },
      run: (l) => {
        const to = l.output(shape);
        const at = { from: l.address(from), to: l.address(to) };
        module.call("nano_patches", { N, channels, S, p: patchSize, ...at, inverse });
        return [to];
      },
      gradient: (dy) => ({ from: () => move(dy, from.shape, inverse === 0 ? 1 : 0) }),
    });
  return move(images, [N, side * side, channels * patchSize * patchSize], 0) as tf.Tensor3D;
}

/** x [N, P, C] → [N, P/s², C·s²]. */
export function pixelShuffle(module: KernelModule, x: tf.Tensor3D, factor: number): tf.Tensor3D {
  const [N, P, C] = x.shape;
  const out = Math.round(Math.sqrt(P)) / factor;
  const move = (from: tf.Tensor, shape: number[], inverse: 0 | 1): tf.Tensor =>
    launch(module, {
      name: "NanoPixelShuffle",
      inputs: { from },
      run: (l) => {
        const to = l.output(shape);
        const at = { from: l.address(from), to: l.address(to) };
        module.call("nano_pixel_shuffle", { N, out, s: factor, C, ...at, inverse });
        return [to];
      },
      gradient: (dy) => ({ from: () => move(dy, from.shape, inverse === 0 ? 1 : 0) }),
    });
  return move(x, [N, out * out, factor * factor * C], 0) as tf.Tensor3D;
}

/** Rotary embedding: x [B, T, H, D], cos and sin [B, T, 1, D/2] → [B, T, H, D]. */
export function rope(
  module: KernelModule,
  x: tf.Tensor4D,
  cos: tf.Tensor,
  sin: tf.Tensor,
  sign: 1 | -1 = 1,
): tf.Tensor4D {
  const [B, T, H, D] = x.shape;
  return launch(module, {
    name: "NanoRope",
    inputs: { x, cos, sin },
    saveInputs: ["cos", "sin"],
    run: (l) => {
      const y = l.output(x.shape);
      const at = { x: l.address(x), cos: l.address(cos), sin: l.address(sin), y: l.address(y) };
      module.call("nano_rope", { tokens: B * T, H, D, ...at, sign });
      return [y];
    },
    gradient: (dy, [cos, sin]) => ({
      x: () => rope(module, dy as tf.Tensor4D, cos, sin, sign === 1 ? -1 : 1),
    }),
  });
}
