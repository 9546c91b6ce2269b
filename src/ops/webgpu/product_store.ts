/**
 * How shaders of products store what they have summed.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { GELU } from "./elementwise.ts";
import type { GpuLaunch, Resource } from "./launch.ts";
import type { Binding } from "./program.ts";

/** What happens to a sum. */
export interface Epilogue {
  /** Times `p.scale`. */
  readonly scaled: boolean;
  /** A row is added. */
  readonly bias: boolean;
  /** What C holds is added. */
  readonly add: boolean;
  /** GELU of the result goes to a second matrix. */
  readonly gelu: boolean;
}

/** For names of programs. */
export function epilogueName({ scaled, bias, add, gelu }: Epilogue): string {
  const parts = Object.entries({ scaled, bias, add, gelu }).filter(([, does]) => does);
  return parts.map(([name]) => ` ${name}`).join("");
}

/** The bindings after the operands. */
export function epilogueBindings({ bias, gelu }: Epilogue, type: "f32" | "vec4<f32>"): Binding[] {
  return [
    ...bias ? [{ name: "bias", type }] : [],
    { name: "c", type, write: true },
    ...gelu ? [{ name: "activated", type, write: true }] : [],
  ];
}

/** What is bound to them. */
export function epilogueResources(
  l: GpuLaunch,
  c: tf.TensorInfo,
  bias: tf.TensorInfo | undefined,
  activated: tf.TensorInfo | undefined,
): Resource[] {
  const bound = [bias, c, activated].filter((tensor) => tensor !== undefined);
  return bound.map((tensor) => l.buffer(tensor));
}

/** What the statement of {@linkcode storeSum} calls. */
export function epilogueDeclarations({ gelu }: Epilogue, type: "f32" | "vec4<f32>"): string {
  return gelu ? `alias V = ${type};\n${GELU}` : "";
}

/** The statement that stores `sum` at the index `at` of C; `column` is that of the bias. */
export function storeSum(
  { scaled, bias, add, gelu }: Epilogue,
  at: string,
  column: string,
  sum: string,
): string {
  const terms = [
    scaled ? `p.scale * ${sum}` : sum,
    ...bias ? [`load_bias(${column})`] : [],
    ...add ? [`c[${at}]`] : [],
  ];
  const value = terms.join(" + ");
  if (!gelu) return `c[${at}] = ${value};`;
  return `{ let z = ${value}; c[${at}] = z; activated[${at}] = 0.5 * z * (1.0 + gelu_tanh(z)); }`;
}
