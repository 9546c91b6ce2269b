/**
 * Rotating, gathering, scattering and shuffling rows on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { checkRowIds } from "../row_ids.ts";
import { launch } from "./runtime/launch.ts";
import type { KernelModule } from "./runtime/module.ts";

// B batch, T tokens, H heads, D head dim, C channels, N images

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
      // deno-fmt-ignore
      module.kernel("nano_rope")(
        B * T, H, D, l.address(x), l.address(cos), l.address(sin), sign, l.address(y),
      );
      return [y];
    },
    gradient: (dy, [cos, sin]) => ({
      x: () => rope(module, dy as tf.Tensor4D, cos, sin, sign === 1 ? -1 : 1),
    }),
  });
}

/** `sum`, or zeros [rows, C], with `values` [n, C] added at `ids` [n], in order; ids may repeat. */
function scatterAddRows(
  module: KernelModule,
  values: tf.Tensor,
  ids: Int32Array,
  rows: number,
  sum?: tf.Tensor,
): tf.Tensor2D {
  const C = values.size / Math.max(1, ids.length);
  checkRowIds(ids, rows);
  return launch(module, {
    name: "NanoScatterAddRows",
    inputs: { values },
    run: (l) => {
      const width = values.shape[values.rank - 1];
      const out = l.target([rows, width], sum);
      if (sum === undefined) module.kernel("nano_fill")(rows * width, l.address(out), 0);
      l.withIntegers([ids], ([address]) =>
        // deno-fmt-ignore
        module.kernel("nano_scatter_add_rows")(
          ids.length, C, l.address(values), address, l.address(out),
        ));
      return [out];
    },
  });
}

/** table [V, C] at `ids` [n] → [n, C]; the gradient is {@link scatterAddRows}. */
export function gatherRows(
  module: KernelModule,
  table: tf.Tensor,
  ids: Int32Array,
): tf.Tensor2D {
  const [V, C] = table.shape;
  checkRowIds(ids, V);
  return launch(module, {
    name: "NanoGatherRows",
    inputs: { table },
    run: (l) => {
      const out = l.output([ids.length, C]);
      l.withIntegers([ids], ([address]) =>
        // deno-fmt-ignore
        module.kernel("nano_gather_rows")(
          ids.length, C, l.address(table), address, l.address(out),
        ));
      return [out];
    },
    gradient: (dy) => ({ table: (sums) => scatterAddRows(module, dy, ids, V, sums?.table) }),
  });
}

/** x [N, C] with the rows at `ids` (all different) replaced by `rows` [M, C] → [N, C]. */
export function replaceRows(
  module: KernelModule,
  x: tf.Tensor2D,
  rows: tf.Tensor2D,
  ids: Int32Array,
): tf.Tensor2D {
  const [N, C] = x.shape;
  checkRowIds(ids, N);
  /** A copy of `from` with the rows at `ids` taken from `rows`, or zeroed. */
  const write = (from: tf.Tensor, values?: tf.Tensor): tf.Tensor2D =>
    launch(module, {
      name: values === undefined ? "NanoZeroRows" : "NanoReplaceRows",
      inputs: values === undefined ? { x: from } : { x: from, rows: values },
      run: (l) => {
        const out = l.output([N, C]);
        module.kernel("nano_copy")(N * C, l.address(from), l.address(out));
        l.withIntegers([ids], ([address]) => {
          if (values === undefined) {
            module.kernel("nano_zero_rows")(ids.length, C, address, l.address(out));
          } else {
            // deno-fmt-ignore
            module.kernel("nano_scatter_rows")(
              ids.length, C, l.address(values), address, l.address(out),
            );
          }
        });
        return [out];
      },
      gradient: (dy) => ({
        x: () => write(dy),
        rows: () => gatherRows(module, dy, ids),
      }),
    });
  return write(x, rows);
}

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
        // deno-fmt-ignore
        module.kernel("nano_patches")(
          N, channels, S, patchSize, l.address(from), l.address(to), inverse,
        );
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
        // deno-fmt-ignore
        module.kernel("nano_pixel_shuffle")(
          N, out, factor, C, l.address(from), l.address(to), inverse,
        );
        return [to];
      },
      gradient: (dy) => ({ from: () => move(dy, from.shape, inverse === 0 ? 1 : 0) }),
    });
  return move(x, [N, out * out, factor * factor * C], 0) as tf.Tensor3D;
}

/** Dropout with the mask that the counter gives: any shape. */
export function dropout(
  module: KernelModule,
  x: tf.Tensor,
  rate: number,
  key: number,
): tf.Tensor {
  return launch(module, {
    name: "NanoDropout",
    inputs: { x },
    run: (l) => {
      const y = l.output(x.shape);
      // deno-fmt-ignore
      module.kernel("nano_dropout")(
        x.size, l.address(x), key, Math.ceil(rate * 2 ** 32), Math.fround(1 / (1 - rate)),
        l.address(y),
      );
      return [y];
    },
    gradient: (dy) => ({ x: () => dropout(module, dy, rate, key) }),
  });
}
