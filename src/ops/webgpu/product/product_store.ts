/**
 * How shaders of products store their sums.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { GELU } from "../activations.ts";
import type { GpuLaunch, Resource } from "../runtime/launch.ts";
import type { LaneValue } from "../runtime/lane_value.ts";
import type { Binding } from "../runtime/program.ts";

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
}

/** For names of programs. */
export function epilogueName(epilogue: Epilogue): string {
  const parts = Object.entries(epilogue).filter(([, does]) => does);
  return parts.map(([name]) => ` ${name}`).join("");
}

/** The bindings after the operands. */
export function epilogueBindings(
  { bias, gelu }: Epilogue,
  type: LaneValue["type"],
  roundsBias = false,
): Binding[] {
  return [
    ...bias ? [{ name: "bias", type, rounded: roundsBias }] : [],
    { name: "c", type, write: true },
    ...gelu ? [{ name: "activated", type, write: true }] : [],
  ];
}

/** The resources of these bindings. */
export function epilogueResources(
  l: GpuLaunch,
  c: tf.TensorInfo,
  bias: tf.TensorInfo | undefined,
  activated: tf.TensorInfo | undefined,
): Resource[] {
  const bound = [bias, c, activated].filter((tensor) => tensor !== undefined);
  return bound.map((tensor) => l.buffer(tensor));
}

/** The functions that the statement of {@linkcode storeSum} calls. */
export function epilogueDeclarations({ gelu }: Epilogue, type: LaneValue["type"]): string {
  return gelu ? `alias V = ${type};\n${GELU}` : "";
}

/** The statement that stores `sum` at the index `at` of C; `column` is that of the bias. */
export function storeSum(
  { scaled, bias, add, gelu, roundsSum, roundsResult }: Epilogue,
  at: string,
  column: string,
  sum: string,
): string {
  const product = roundsSum
    ? [`round_half(${sum}${bias ? ` + load_bias(${column})` : ""})`]
    : [sum, ...bias ? [`load_bias(${column})`] : []];
  const [first, ...rest] = [...product, ...add ? [`c[${at}]`] : []];
  const terms = [scaled ? `p.scale * ${first}` : first, ...rest].join(" + ");
  const value = roundsResult ? `round_half(${terms})` : terms;
  if (!gelu) return `c[${at}] = ${value};`;
  return `{ let z = ${value}; c[${at}] = z; activated[${at}] = 0.5 * z * (1.0 + gelu_tanh(z)); }`;
}
