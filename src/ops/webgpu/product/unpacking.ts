/**
 * Widens packed numbers into a float32 tensor, in WGSL.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { PackedFormat } from "../../half/packed_weight.ts";
import { type GpuLaunch, launch } from "../runtime/launch.ts";
import { widenWordsProgram } from "../runtime/half_storage.ts";
import { laneValue } from "../runtime/lane_value.ts";
import { cachedProgram, grid } from "../runtime/program.ts";
import { WIDEN } from "../runtime/widen.ts";

/** Words as float32 of that shape. */
export function recordUnpacking(
  l: GpuLaunch,
  words: tf.TensorInfo,
  format: PackedFormat,
  shape: readonly number[],
): tf.TensorInfo {
  const size = tf.util.sizeFromShape([...shape]);
  const out = l.output(shape);
  const fours = widenWordsProgram(format);
  const single = format === "Q8" ? fours : cachedProgram(`unpack ${format} one by one`, () => ({
    bindings: [
      { name: "words", type: "u32" },
      { name: "out", type: "f32", write: true },
    ],
    parameters: { count: "u32" },
    workgroup: 256,
    declarations: `fn widen(half: u32) -> u32 { ${WIDEN[format]} }`,
    body: `
      if (index >= p.count) { return; }
      let half = (load_words(index / 2u) >> (16u * (index % 2u))) & 0xffffu;
      out[index] = bitcast<f32>(widen(half));`,
  }));
  const { width } = laneValue(size);
  l.dispatch(
    width === 4 ? fours : single,
    [l.buffer(words), l.buffer(out)],
    { count: size / width },
    grid(size / width, 256),
  );
  return out;
}

/** The same as an op; the caller frees the tensor. No gradient. */
export function unpack(
  words: tf.Tensor,
  format: PackedFormat,
  shape: readonly number[],
): tf.Tensor {
  return launch({
    name: "GpuUnpack",
    inputs: { words },
    run: (l) => [recordUnpacking(l, words, format, shape)],
  });
}
