/**
 * How shaders of products read their operands: float32 or 16-bit words; in a 16-bit pass, operands that
 * are not rounded yet are rounded as they are read.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { PACKED_FORMATS, type PackedFormat } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import type { GpuLaunch, Resource } from "../runtime/launch.ts";
import { type Epilogue, epilogueBindings } from "./product_store.ts";
import type { LaneValue } from "../runtime/lane_value.ts";
import {
  type Binding,
  type BindingType,
  cachedProgram,
  grid,
  type Program,
} from "../runtime/program.ts";
import { storedFormat } from "../runtime/half_storage.ts";
import type { Rounding } from "../runtime/rounding.ts";

/** The numbers in 16-bit words. */
export interface PackedNumbers {
  readonly format: PackedFormat;
  readonly shape: readonly number[];
}

/** The numbers of a tensor whose values are stored in 16 bits. */
export function storedNumbers(tensor: tf.TensorInfo): PackedNumbers | undefined {
  const format = storedFormat(tensor);
  return format && { format, shape: tensor.shape };
}

/** How a shader reads a matrix. */
export interface OperandType {
  readonly type: BindingType;
  readonly rounded: boolean;
}

/** How it reads both operands, and the format that it rounds them to. */
export interface Operands {
  readonly a: OperandType;
  readonly b: OperandType;
  readonly half: HalfFormat | null;
}

/** For names of programs. */
export function operandsName({ a, b, half }: Operands): string {
  const parts = [a, b].map(({ type, rounded }) => `${type}${rounded ? " rounded" : ""}`);
  return [...parts, ...half === null ? [] : [half]].join(" ");
}

/** The bindings of a product. */
export function productBindings(
  { a, b, half }: Operands,
  epilogue: Epilogue,
  type: LaneValue["type"],
): Binding[] {
  return [
    { name: "a", ...a },
    { name: "b", ...b },
    ...epilogueBindings(epilogue, type, half !== null),
  ];
}

/** The rounding of its shader. */
export function productRounding(
  { half }: Operands,
  type: LaneValue["type"],
): Rounding | undefined {
  return half === null ? undefined : { format: half, type };
}

/** Whether numbers are not rounded yet. */
export function isUnrounded(packed: PackedNumbers | undefined, half: HalfFormat | null): boolean {
  return half !== null && packed?.format !== PACKED_FORMATS[half];
}

/** Four values a lane, widened and rounded. */
function widenProgram({ type, rounded }: OperandType, half: HalfFormat | null): Program {
  return cachedProgram(`widen ${type}${rounded ? ` rounded ${half}` : ""}`, () => ({
    bindings: [{ name: "x", type, rounded }, { name: "out", type: "vec4<f32>", write: true }],
    parameters: { first: "u32", count: "u32" },
    rounds: half === null ? undefined : { format: half, type: "vec4<f32>" },
    workgroup: 256,
    body: `
      if (index >= p.count) { return; }
      out[index] = load_x(p.first + index);`,
  }));
}

/**
 * A matrix as a shader reads it: its buffer or, on a software adapter, the texture of that slot. There
 * a shader widens and rounds into a buffer, which is copied: llvmpipe takes three times as long to
 * store texels.
 *
 * @param tensor its numbers or words; a multiple of four numbers
 * @param half what they are rounded to
 * @param first number that takes part, a multiple of four; only on a software adapter
 * @param count of numbers that take part, a multiple of four; only there
 */
export function bindOperand(
  l: GpuLaunch,
  slot: string,
  tensor: tf.TensorInfo,
  packed: PackedNumbers | undefined,
  half: HalfFormat | null,
  first = 0,
  count = tf.util.sizeFromShape([...packed?.shape ?? tensor.shape]),
): [resource: Resource, type: OperandType] {
  const type = packed?.format ?? "vec4<f32>";
  const rounded = isUnrounded(packed, half);
  const held = packed === undefined ? l.buffer(tensor) : l.words(tensor);
  if (!l.isFallback) return [held, { type, rounded }];
  const read: OperandType = { type: "texture", rounded: false };
  if (packed === undefined && !rounded) return [l.operand(tensor, slot, first, count), read];
  const wide = l.output([count]);
  l.dispatch(
    widenProgram({ type, rounded }, rounded ? half : null),
    [held, l.buffer(wide)],
    { first: first / 4, count: count / 4 },
    grid(count / 4, 256),
  );
  const texture = l.operand(wide, slot);
  l.backend.disposeData(wide.dataId);
  return [texture, read];
}
