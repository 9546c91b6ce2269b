/**
 * Patches, pixel shuffle and rotary embedding in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type HalfFormat, halfFormat } from "../half/precision.ts";
import { storedFormat } from "./runtime/half_storage.ts";
import { type GpuLaunch, launch } from "./runtime/launch.ts";
import { cachedProgram, grid } from "./runtime/program.ts";

const WORKGROUP = 64;

/** A permutation: `place` is WGSL that computes `i` in the source from `index` in the result. */
interface Permutation {
  readonly name: string;
  readonly place: string;
  readonly values: Readonly<Record<string, number>>;
}

/** Permutes values, or inverts a permutation. */
function permute(
  { name, place, values }: Permutation,
  x: tf.Tensor,
  shape: number[],
  inverse: boolean,
): tf.Tensor {
  const run = (l: GpuLaunch): tf.TensorInfo[] => {
    const y = l.output(shape);
    const program = cachedProgram(`${name}${inverse ? " back" : ""}`, () => ({
      bindings: [{ name: "x", type: "f32" }, { name: "y", type: "f32", write: true }],
      parameters: {
        count: "u32",
        ...Object.fromEntries(Object.keys(values).map((key) => [key, "u32" as const])),
      },
      workgroup: WORKGROUP,
      body: `
      if (index >= p.count) { return; }
      ${place}
      ${inverse ? "y[i] = load_x(index);" : "y[index] = load_x(i);"}`,
    }));
    l.dispatch(
      program,
      [l.buffer(x), l.buffer(y)],
      { count: x.size, ...values },
      grid(x.size, WORKGROUP),
    );
    return [y];
  };
  return launch({
    name: "GpuPermute",
    inputs: { x },
    run,
    gradient: (dy) => ({
      x: () => permute({ name, place, values }, dy, x.shape, !inverse),
    }),
  });
}

/** images [N, channels, S, S] → [N, (S/p)², channels·p·p]. */
export function patches(images: tf.Tensor4D, patchSize: number): tf.Tensor3D {
  const [N, channels, S] = images.shape;
  const side = Math.floor(S / patchSize);
  const width = channels * patchSize * patchSize;
  const permutation: Permutation = {
    name: "patches",
    values: { channels, S, size: patchSize, side },
    place: `
      let px = index % p.size;
      let py = index / p.size % p.size;
      let channel = index / (p.size * p.size) % p.channels;
      let tile = index / (p.size * p.size * p.channels);
      let x0 = tile % p.side * p.size + px;
      let y0 = tile / p.side % p.side * p.size + py;
      let image = tile / (p.side * p.side);
      let i = ((image * p.channels + channel) * p.S + y0) * p.S + x0;`,
  };
  return permute(permutation, images, [N, side * side, width], false) as tf.Tensor3D;
}

/** x [N, P, C] → [N, P/s², C·s²]. */
export function pixelShuffle(x: tf.Tensor3D, factor: number): tf.Tensor3D {
  const [N, P, C] = x.shape;
  const side = Math.round(Math.sqrt(P));
  const out = side / factor;
  const permutation: Permutation = {
    name: "pixel shuffle",
    values: { factor, side, out, C },
    place: `
      let c = index % p.C;
      let fx = index / p.C % p.factor;
      let fy = index / (p.C * p.factor) % p.factor;
      let token = index / (p.C * p.factor * p.factor);
      let ox = token % p.out;
      let oy = token / p.out % p.out;
      let image = token / (p.out * p.out);
      let row = oy * p.factor + fy;
      let column = ox * p.factor + fx;
      let i = ((image * p.side + row) * p.side + column) * p.C + c;`,
  };
  return permute(permutation, x, [N, out * out, factor * factor * C], false) as tf.Tensor3D;
}

/**
 * Rotary embedding: x [B, T, H, D], cos and sin [B, T, 1, D/2] → [B, T, H, D]. The gradient rotates
 * back. In a 16-bit pass attention rounds the result, and a layer its gradient: both are rounded once,
 * as they are stored.
 */
export function rope(
  x: tf.Tensor4D,
  cos: tf.Tensor,
  sin: tf.Tensor,
): tf.Tensor4D {
  return rotate(x, [cos, sin], 1, x.shape[3] % 8 === 0 ? halfFormat() : null);
}

/** `half`: the format that the result is rounded to and stored in. */
function rotate(
  x: tf.Tensor4D,
  [cos, sin]: readonly tf.Tensor[],
  direction: 1 | -1,
  half: HalfFormat | null,
): tf.Tensor4D {
  const [, , H, D] = x.shape;
  const width = D % 8 === 0 ? 4 : 1;
  const type = width === 4 ? "vec4<f32>" : "f32";
  return launch({
    name: "GpuRope",
    inputs: { x, cos, sin },
    saveInputs: ["cos", "sin"],
    run: (l) => {
      const y = l.halfOutput(x.shape, half);
      const read = width === 4 ? storedFormat(x) ?? type : type;
      const written = storedFormat(y) ?? type;
      const program = cachedProgram(`rope ${read} ${written}`, () => ({
        bindings: [
          { name: "x", type: read },
          { name: "cos", type },
          { name: "sin", type },
          { name: "y", type: written, write: true, rounded: half !== null },
        ],
        rounds: half === null ? undefined : { format: half, type },
        parameters: { count: "u32", H: "u32", half: "u32", direction: "f32" },
        workgroup: WORKGROUP,
        // A lane rotates a value of the first half of a head with its partner of the second.
        body: `
      if (index >= p.count) { return; }
      let d = index % p.half;
      let head = index / p.half;
      let angle = head / p.H * p.half + d;
      let c = load_cos(angle);
      let s = load_sin(angle) * p.direction;
      let at = head * 2u * p.half + d;
      let a = load_x(at);
      let b = load_x(at + p.half);
      store_y(at, a * c - b * s);
      store_y(at + p.half, b * c + a * s);`,
      }));
      const halfHead = D / 2 / width;
      const count = x.size / 2 / width;
      l.dispatch(
        program,
        [width === 4 ? l.words(x) : l.buffer(x), l.buffer(cos), l.buffer(sin), l.words(y)],
        { count, H, half: halfHead, direction },
        grid(count, WORKGROUP),
        { flops: 3 * x.size },
      );
      return [y];
    },
    gradient: (dy, [cos, sin]) => ({
      x: () => rotate(dy as tf.Tensor4D, [cos, sin], direction === 1 ? -1 : 1, half),
    }),
  });
}
