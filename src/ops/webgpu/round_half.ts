/**
 * Rounding to 16-bit formats in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { HalfFormat } from "../half/precision.ts";
import { elementwise } from "./activations.ts";
import { isStoredIn } from "./runtime/half_storage.ts";
import { launch } from "./runtime/launch.ts";
import { laneValue } from "./runtime/lane_value.ts";
import { cachedProgram, grid } from "./runtime/program.ts";

/** Body of `narrow`: the 16 bits of a rounded float32 that is not NaN. */
const NARROWED: Record<HalfFormat, string> = {
  bf16: "return bits >> 16u;",
  // Below 2^-14 the bits count multiples of 2^-24.
  fp16: `
    let sign = (bits >> 16u) & 0x8000u;
    let size = bits & 0x7fffffffu;
    if (size >= 0x7f800000u) { return sign | 0x7c00u; }
    if (size >= 0x38800000u) { return sign | ((size - 0x38000000u) >> 13u); }
    return sign | u32(bitcast<f32>(size) * 16777216.0);`,
};

/** Bits of the NaN that every NaN becomes, by format. */
const NAN: Record<HalfFormat, string> = { bf16: "0x7fc0u", fp16: "0x7e00u" };

/** The values of `x` in a 16-bit format, as float32. No gradient. */
export function roundHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const name = `GpuRoundHalf ${format}`;
  return elementwise({ name, rounds: format, flops: 8, inputs: [x], body: "y = round_half(x0);" });
}

/** R(x) in a new tensor that is stored in 16 bits, or x itself if it is stored so. No gradient. */
export function storeHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  if (isStoredIn(x, format)) return x.clone();
  const name = `GpuStoreHalf ${format}`;
  const body = "y = round_half(x0);";
  return elementwise({ name, rounds: format, stores: format, flops: 8, inputs: [x], body });
}

/** R(scale · R(x)), stored in 16 bits. No gradient. */
export function storeScaled(x: tf.Tensor, format: HalfFormat, scale: number): tf.Tensor {
  return elementwise({
    name: `GpuStoreScaledHalf ${format}`,
    ...{ rounds: format, stores: format, flops: 17, inputs: [x] },
    parameters: { scale: "f32" },
    values: { scale },
    body: "y = round_half(p.scale * round_half(x0));",
  });
}

/**
 * The same as integers, two in a word. No gradient.
 *
 * @returns int32 [⌈size / 2⌉]
 */
export function packHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const words = Math.ceil(x.size / 2);
  const { width, type } = laneValue(x.size);
  const lanes = width === 4 ? words / 2 : words;
  const program = cachedProgram(
    `pack half ${format} ${type}`,
    () => ({
      bindings: [{ name: "x", type }, { name: "words", type: "u32", write: true }],
      parameters: { count: "u32", lanes: "u32" },
      workgroup: 256,
      rounds: { format, type: "f32" },
      declarations: `
fn narrow(bits: u32) -> u32 { ${NARROWED[format]} }
fn half(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(narrow(rounded_bits(bits)), ${NAN[format]}, (bits & 0x7fffffffu) > 0x7f800000u);
}`,
      body: `
      if (index >= p.lanes) { return; }
      ${
        width === 4
          ? `let v = load_x(index);
      words[2u * index] = half(v.x) | (half(v.y) << 16u);
      words[2u * index + 1u] = half(v.z) | (half(v.w) << 16u);`
          : `let at = 2u * index;
      var word = half(load_x(at));
      if (at + 1u < p.count) { word |= half(load_x(at + 1u)) << 16u; }
      words[index] = word;`
      }`,
    }),
  );
  return launch({
    name: "GpuPackHalf",
    inputs: { x },
    run: (l) => {
      const out = l.output([words], "int32");
      const buffers = [l.buffer(x), l.buffer(out)];
      const bytes = 4 * x.size + 4 * words;
      l.dispatch(program, buffers, { count: x.size, lanes }, grid(lanes, 256), { bytes });
      return [out];
    },
  });
}
