/**
 * Dispatches the programs of attention.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AttentionDims, AttentionLayout } from "../../attention/attention_layout.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { forwardProgram } from "./forward.ts";
import { dkvProgram, dqProgram, recordProgram } from "./gradients.ts";
import { layoutTable } from "./windows.ts";
import { type AttentionVariant, queryRecord } from "./variant.ts";
import { storedFormat } from "../runtime/half_storage.ts";
import type { GpuLaunch, Resource } from "../runtime/launch.ts";
import {
  bindOperand,
  isUnrounded,
  type OperandType,
  storedNumbers,
} from "../product/product_operands.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** Numbers of keys that a workgroup holds on hardware: 4 KiB, and as much for values. */
const TILE_DIMS = 1024;

/** One attention. */
export interface Work {
  readonly dims: AttentionDims;
  readonly layout: AttentionLayout | null;
  readonly rotates: AttentionVariant["rotates"];
  /** In a 16-bit pass: the format that q, k, v and dy are rounded to as they are read. */
  readonly half: HalfFormat | null;
}

/** Queries, keys and values. */
export type AttentionInputs = readonly [q: tf.TensorInfo, k: tf.TensorInfo, v: tf.TensorInfo];

/** Queries, keys and values as bound, once for all programs of an op. */
export interface BoundInputs {
  readonly type: OperandType;
  /** The buffer of the queries. */
  readonly queries: GPUBuffer;
  bind(slot: "q" | "k" | "v"): Resource;
}

/** Binds each input when a program first needs it; in 16 bits if all three are stored so. */
export function bindInputs(
  l: GpuLaunch,
  { half }: Work,
  [q, k, v]: AttentionInputs,
): BoundInputs {
  const inputs = { q, k, v };
  const format = storedFormat(q);
  const isStored = [k, v].every((x) => storedFormat(x) === format);
  const packedOf = (x: tf.TensorInfo) => isStored ? storedNumbers(x) : undefined;
  const bound = new Map<string, Resource>();
  return {
    // A texture was rounded when it was filled.
    type: l.isFallback
      ? { type: "texture", rounded: false }
      : { type: packedOf(q)?.format ?? "vec4<f32>", rounded: isUnrounded(packedOf(q), half) },
    queries: packedOf(q) === undefined ? l.buffer(q) : l.words(q),
    bind: (slot) => {
      let resource = bound.get(slot);
      if (resource === undefined) {
        [resource] = bindOperand(l, slot, inputs[slot], packedOf(inputs[slot]), half);
        bound.set(slot, resource);
      }
      return resource;
    },
  };
}

function variantOf(
  l: GpuLaunch,
  { dims: { D }, layout, rotates, half }: Work,
  inputs: OperandType,
  roundsResult: boolean,
  dy?: tf.TensorInfo,
): AttentionVariant {
  const plain: OperandType = { type: l.operandType, rounded: false };
  const dyNumbers = dy && storedNumbers(dy);
  const dyBuffer: OperandType = {
    type: dyNumbers?.format ?? "vec4<f32>",
    rounded: isUnrounded(dyNumbers, half),
  };
  return {
    D4: D / 4,
    inputs,
    dy: l.isFallback ? plain : dyBuffer,
    dyBuffer,
    record: plain,
    lanes: l.isFallback ? 8 : 64,
    tile: l.isFallback ? 0 : Math.min(16, Math.floor(TILE_DIMS / D)),
    layout: layout === null ? "none" : layout.rowOffsets === null ? "even" : "joined",
    ...{ rotates, half, roundsResult },
  };
}

/** Operations of a sum over the dims for every query and every key that it sees. */
function sumFlops({ dims: { N, Tk, H, D }, layout }: Work): number {
  return 2 * H * D * (layout?.pairs ?? N * Tk);
}

/** Operations of rotating that many values. */
const rotationFlops = (values: number): number => 3 * values;

function parametersOf({ dims: { B, Tq, Tk, N, H, K, D } }: Work): Record<string, number> {
  return { B, Tq, Tk, N, H, K, scale: 1 / Math.sqrt(D) };
}

function layoutBuffer(l: GpuLaunch, { layout }: Work, lanes: number): Resource[] {
  if (layout === null) return [];
  return [l.integersOf(layout, `layout for ${lanes}`, () => layoutTable(layout, lanes))];
}

/** Operations of rotating the keys once for every `lanes` queries that see them. */
function keysRotated(work: Work, lanes: number): number {
  return work.rotates === "queries and keys" ? rotationFlops(sumFlops(work) / 2 / lanes) : 0;
}

/**
 * Records the forward pass.
 *
 * @param angles cosines and sines, if something is rotated
 * @param roundsResult whether what is stored is rounded
 * @returns the result [B, Tq, H·D] and the log of the sum of exponentials [N, H]
 */
export function recordAttention(
  l: GpuLaunch,
  work: Work,
  inputs: BoundInputs,
  angles: readonly tf.TensorInfo[],
  roundsResult: boolean,
): [out: tf.TensorInfo, lse: tf.TensorInfo] {
  const { B, Tq, N, ofQueries, H, D } = work.dims;
  const variant = variantOf(l, work, inputs.type, roundsResult);
  const { lanes } = variant;
  const out = l.halfOutput([...ofQueries, H * D], roundsResult ? work.half : null);
  const lse = l.output([N, H]);
  const operands = (["q", "k", "v"] as const).map((slot) => inputs.bind(slot));
  l.dispatch(
    forwardProgram(variant),
    [
      ...operands,
      ...layoutBuffer(l, work, lanes),
      ...[...angles, out, lse].map((x) => l.words(x)),
    ],
    parametersOf(work),
    [Math.ceil(Tq / lanes), H, B],
    {
      flops: 2 * sumFlops(work) + (angles.length === 0 ? 0 : rotationFlops(N * H * D)) +
        keysRotated(work, lanes),
    },
  );
  return [out, lse];
}

/**
 * Records the backward pass of what {@linkcode recordAttention} gave.
 *
 * @param results what it gave, not rounded; null: computed again

 * @returns the gradients of queries, keys and values, rounded in a 16-bit pass
 */
export function recordAttentionGradients(
  l: GpuLaunch,
  work: Work,
  inputs: BoundInputs,
  angles: readonly tf.TensorInfo[],
  results: readonly [out: tf.TensorInfo, lse: tf.TensorInfo] | null,
  dy: tf.TensorInfo,
): [dq: tf.TensorInfo, dk: tf.TensorInfo, dv: tf.TensorInfo] {
  const { B, Tq, Tk, N, H, K, D } = work.dims;
  const { half } = work;
  const variant = variantOf(l, work, inputs.type, half !== null, dy);
  const parameters = parametersOf(work);
  const { lanes } = variant;
  const { ofQueries, ofKeys } = work.dims;
  const dq = l.halfOutput([...ofQueries, H, D], half);
  const dk = l.halfOutput([...ofKeys, K, D], half), dv = l.halfOutput([...ofKeys, K, D], half);
  const { names, width, isScaled } = queryRecord(variant);
  const record = l.output([N, H, 4 * width]);
  const overQueries: [number, number, number] = [Math.ceil(Tq / lanes), H, B];
  const inLayout = layoutBuffer(l, work, lanes);
  const buffers = (tensors: readonly tf.TensorInfo[]) => tensors.map((x) => l.words(x));
  const rotatesKeys = work.rotates === "queries and keys";
  const queries = N * H * D;
  const queriesRotated = angles.length > 0 ? rotationFlops(queries) : 0;
  const keysRotatedOnce = rotatesKeys ? rotationFlops(ofKeys[0] * ofKeys[1] * K * D) : 0;
  if (results === null) {
    l.dispatch(
      forwardProgram(variant, true),
      [
        ...(["q", "k", "v"] as const).map((slot) => inputs.bind(slot)),
        ...buffers([dy]),
        ...inLayout,
        ...buffers([...angles, record]),
      ],
      parameters,
      overQueries,
      { flops: 2 * sumFlops(work) + 2 * queries + queriesRotated + keysRotated(work, lanes) },
    );
  } else {
    const [out, lse] = results;
    l.dispatch(
      recordProgram(variant),
      [
        ...isScaled ? [inputs.queries] : [],
        ...buffers([out, dy, lse]),
        ...inLayout,
        ...buffers([...angles, record]),
      ],
      parameters,
      overQueries,
      { flops: 2 * queries + queriesRotated },
    );
  }
  const operands = [
    ...names.map((name) => name === "q" ? inputs.bind(name) : l.operand(record, name)),
    inputs.bind("k"),
    inputs.bind("v"),
    bindOperand(l, "dy", dy, storedNumbers(dy), half)[0],
  ];
  const flops = sumFlops(work);
  l.dispatch(
    dqProgram(variant),
    [...operands, ...inLayout, ...buffers(angles), l.words(dq)],
    parameters,
    overQueries,
    { flops: 3 * flops + queriesRotated + keysRotated(work, lanes) },
  );
  l.dispatch(
    dkvProgram(variant),
    [...operands, ...inLayout, ...buffers(rotatesKeys ? angles : []), ...buffers([dk, dv])],
    parameters,
    [Math.ceil(Tk / lanes), K, B],
    { flops: 4 * flops + 2 * keysRotatedOnce },
  );
  l.backend.disposeData(record.dataId);
  return [dq, dk, dv];
}
