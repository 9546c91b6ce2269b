/**
 * How shaders of products store their sums.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { GELU } from "../activations.ts";
import type { HalfFileFormat } from "../../half/packed_weight.ts";
import type { GpuLaunch, Resource } from "../runtime/launch.ts";
import type { LaneValue } from "../runtime/lane_value.ts";
import type { Binding, BindingType } from "../runtime/program.ts";

/** What is done to a sum before it is stored. */
export interface Epilogue {
  /** Multiplied by `p.scale`. */
  readonly scaled: boolean;
  /** The bias is added. */
  readonly bias: boolean;
  /** C is added. */
  readonly add: boolean;
  /** GELU of the result goes to a second matrix. */
  readonly gelu: boolean;
  /** The sum with its bias is rounded, before it is scaled and C is added. */
  readonly roundsSum: boolean;
  /** The result is rounded. */
  readonly roundsResult: boolean;
  /** Another matrix, laid out as C, is added to the result; how it is read. */
  readonly addend?: BindingType;
  /** `tn` with tiles: the rounded sums of A's columns are written. */
  readonly columnSums?: boolean;
  /** With tiles: the sum of the squares of C is written, a part for each workgroup. */
  readonly squares?: boolean;
  /** C is stored in that 16-bit format; the result is rounded then. */
  readonly stores?: HalfFileFormat;
  /** The same for GELU of the result, which is rounded as it is stored. */
  readonly storesActivated?: HalfFileFormat;
}

/** A matrix that is added to C, laid out as C: its numbers, or their words. */
export interface Addend {
  readonly buffer: GPUBuffer;
  readonly format?: HalfFileFormat;
}

/** What an epilogue reads and writes beside the bias and C. */
export interface EpilogueTensors {
  /** The tensor that GELU(C) is written to, shaped as C. */
  readonly activated?: tf.TensorInfo;
  /** Added to the result; the product must be computed in one run. In words: four columns at a time. */
  readonly addend?: Addend;
  /** [M], for the rounded sums of A's columns; only if `groupsOfSums()` is above 0. */
  readonly columnSums?: tf.TensorInfo;
  /** [workgroups], for sums of the squares of C; only if `groupsOfSums()` is above 0. */
  readonly squares?: tf.TensorInfo;
}

/** For names of programs. */
export function epilogueName(epilogue: Epilogue): string {
  const parts = Object.entries(epilogue).filter(([, does]) => does);
  return parts.map(([name, does]) => ` ${name}${does === true ? "" : ` ${does}`}`).join("");
}

/** The bindings after the operands. */
export function epilogueBindings(
  { bias, gelu, addend, columnSums, squares, stores, storesActivated }: Epilogue,
  type: LaneValue["type"],
  roundsBias = false,
): Binding[] {
  return [
    ...bias ? [{ name: "bias", type, rounded: roundsBias }] : [],
    { name: "c", type: stores ?? type, write: true },
    ...gelu
      ? [{
        name: "activated",
        type: storesActivated ?? type,
        write: true,
        rounded: storesActivated !== undefined,
      }]
      : [],
    ...addend ? [{ name: "addend", type: addend }] : [],
    ...columnSums ? [{ name: "column_sums", type, write: true }] : [],
    ...squares ? [{ name: "squares", type: "f32", write: true } as const] : [],
  ];
}

/** The resources of these bindings. */
export function epilogueResources(
  l: GpuLaunch,
  c: tf.TensorInfo,
  bias: tf.TensorInfo | undefined,
  { activated, addend, columnSums, squares }: EpilogueTensors,
): Resource[] {
  const results = [c, activated].filter((tensor) => tensor !== undefined);
  return [
    ...bias ? [l.buffer(bias)] : [],
    ...results.map((tensor) => l.words(tensor)),
    ...addend ? [addend.buffer] : [],
    ...[columnSums, squares].filter((x) => x !== undefined).map((x) => l.buffer(x)),
  ];
}

/** The functions that the statement of {@linkcode storeSum} calls. */
export function epilogueDeclarations({ gelu }: Epilogue, type: LaneValue["type"]): string {
  return gelu ? `alias V = ${type};\n${GELU}` : "";
}

/** The statement that stores `sum` at the index `at` of C; `column` is that of the bias. */
export function storeSum(
  { scaled, bias, add, gelu, addend, squares, roundsSum, roundsResult }: Epilogue,
  at: string,
  column: string,
  sum: string,
): string {
  const product = roundsSum
    ? [`round_half(${sum}${bias ? ` + load_bias(${column})` : ""})`]
    : [sum, ...bias ? [`load_bias(${column})`] : []];
  const [first, ...rest] = [
    ...product,
    ...add ? [`load_c(${at})`] : [],
    ...addend ? [`load_addend(${at})`] : [],
  ];
  const terms = [scaled ? `p.scale * ${first}` : first, ...rest].join(" + ");
  const value = roundsResult ? `round_half(${terms})` : terms;
  if (squares) return `{ let z = ${value}; store_c(${at}, z); square_sum += dot(z, z); }`;
  if (!gelu) return `store_c(${at}, ${value});`;
  return `{ let z = ${value}; store_c(${at}, z); ` +
    `store_activated(${at}, 0.5 * z * (1.0 + gelu_tanh(z))); }`;
}
