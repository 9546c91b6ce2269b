/**
 * How the programs of attention are dispatched.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AttentionDims, AttentionLayout } from "../../attention/attention_layout.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { dkvProgram, dqProgram, forwardProgram, recordProgram } from "./program.ts";
import { packLayout } from "./windows.ts";
import { type AttentionVariant, queryRecord } from "./wgsl.ts";
import type { GpuLaunch, Resource } from "../runtime/launch.ts";
import {
  bindOperand,
  isUnrounded,
  type OperandType,
  type PackedNumbers,
} from "../product/product_operands.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** Dims of the keys that a workgroup of a hardware adapter holds: 4 KiB, and as much of the values. */
const TILE_DIMS = 1024;

/** What attention works on. */
export interface Work {
  readonly dims: AttentionDims;
  readonly layout: AttentionLayout | null;
  readonly turns: AttentionVariant["turns"];
  /** In a 16-bit pass: what is rounded, q, k, v and dy as they are read. */
  readonly half: HalfFormat | null;
}

/** Queries, keys or values. */
export interface AttentionInput {
  /** Their numbers or words. */
  readonly tensor: tf.TensorInfo;
  readonly packed?: PackedNumbers;
}

/** Queries, keys and values, all of them in one form. */
export type AttentionInputs = readonly [q: AttentionInput, k: AttentionInput, v: AttentionInput];

/** Them as they are bound, once for all programs of an op. */
export interface BoundInputs {
  readonly type: OperandType;
  readonly queries: tf.TensorInfo;
  bind(slot: "q" | "k" | "v"): Resource;
}

/** Binds inputs as programs ask for them. */
export function bindInputs(
  l: GpuLaunch,
  { half }: Work,
  [q, k, v]: AttentionInputs,
): BoundInputs {
  const inputs = { q, k, v };
  const bound = new Map<string, Resource>();
  return {
    // A texture has been rounded when it was filled.
    type: l.isFallback
      ? { type: "texture", rounded: false }
      : { type: q.packed?.format ?? "vec4<f32>", rounded: isUnrounded(q.packed, half) },
    queries: q.tensor,
    bind: (slot) => {
      let resource = bound.get(slot);
      if (resource === undefined) {
        const { tensor, packed } = inputs[slot];
        [resource] = bindOperand(l, slot, tensor, packed, half);
        bound.set(slot, resource);
      }
      return resource;
    },
  };
}

function variantOf(
  l: GpuLaunch,
  { dims: { D }, layout, turns, half }: Work,
  inputs: OperandType,
  roundsResult: boolean,
): AttentionVariant {
  const plain: OperandType = { type: l.operandType, rounded: false };
  return {
    D4: D / 4,
    inputs,
    dy: { ...plain, rounded: half !== null && !l.isFallback },
    record: plain,
    lanes: l.isFallback ? 8 : 64,
    tile: l.isFallback ? 0 : Math.min(16, Math.floor(TILE_DIMS / D)),
    layout: layout === null ? "none" : layout.rowOffsets === null ? "even" : "joined",
    ...{ turns, half, roundsResult },
  };
}

/** Operations of a sum over the dims for every query and every key that it sees. */
function sumFlops({ dims: { N, Tk, H, D }, layout }: Work): number {
  return 2 * H * D * (layout?.pairs ?? N * Tk);
}

/** Operations of turning each of so many values. */
const turningFlops = (values: number): number => 3 * values;

function parametersOf({ dims: { B, Tq, Tk, N, H, K, D } }: Work): Record<string, number> {
  return { B, Tq, Tk, N, H, K, scale: 1 / Math.sqrt(D) };
}

function layoutBuffer(l: GpuLaunch, { layout }: Work, lanes: number): Resource[] {
  if (layout === null) return [];
  return [l.integersOf(layout, `layout for ${lanes}`, () => packLayout(layout, lanes))];
}

/** Operations of turning the keys once for `lanes` queries that see them. */
function keysTurned(work: Work, lanes: number): number {
  return work.turns === "queries and keys" ? turningFlops(sumFlops(work) / 2 / lanes) : 0;
}

/**
 * Records the forward pass.
 *
 * @param angles cosines and sines, where something is turned
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
  const out = l.output([...ofQueries, H * D]);
  const lse = l.output([N, H]);
  const operands = (["q", "k", "v"] as const).map((slot) => inputs.bind(slot));
  l.dispatch(
    forwardProgram(variant),
    [
      ...operands,
      ...layoutBuffer(l, work, lanes),
      ...[...angles, out, lse].map((x) => l.buffer(x)),
    ],
    parametersOf(work),
    [Math.ceil(Tq / lanes), H, B],
    {
      flops: 2 * sumFlops(work) + (angles.length === 0 ? 0 : turningFlops(N * H * D)) +
        keysTurned(work, lanes),
    },
  );
  return [out, lse];
}

/**
 * Records the way back, of what {@linkcode recordAttention} gave before it was rounded.
 *
 * @returns the gradients of queries, keys and values, rounded in a 16-bit pass
 */
export function recordAttentionGradients(
  l: GpuLaunch,
  work: Work,
  inputs: BoundInputs,
  angles: readonly tf.TensorInfo[],
  [out, lse]: readonly [tf.TensorInfo, tf.TensorInfo],
  dy: tf.TensorInfo,
): [dq: tf.TensorInfo, dk: tf.TensorInfo, dv: tf.TensorInfo] {
  const { B, Tq, Tk, N, H, K, D } = work.dims;
  const { half } = work;
  const variant = variantOf(l, work, inputs.type, half !== null);
  const parameters = parametersOf(work);
  const { lanes } = variant;
  const { ofQueries, ofKeys } = work.dims;
  const dq = l.output([...ofQueries, H, D]);
  const dk = l.output([...ofKeys, K, D]), dv = l.output([...ofKeys, K, D]);
  const { names, width, isScaled } = queryRecord(variant);
  const record = l.output([N, H, 4 * width]);
  const overQueries: [number, number, number] = [Math.ceil(Tq / lanes), H, B];
  const inLayout = layoutBuffer(l, work, lanes);
  const buffers = (tensors: readonly tf.TensorInfo[]) => tensors.map((x) => l.buffer(x));
  const turnsKeys = work.turns === "queries and keys";
  const queries = N * H * D;
  const queriesTurned = angles.length > 0 ? turningFlops(queries) : 0;
  const keysTurnedOnce = turnsKeys ? turningFlops(ofKeys[0] * ofKeys[1] * K * D) : 0;
  l.dispatch(
    recordProgram(variant),
    [
      ...isScaled ? [l.buffer(inputs.queries)] : [],
      ...buffers([out, dy, lse]),
      ...inLayout,
      ...buffers([...angles, record]),
    ],
    parameters,
    overQueries,
    { flops: 2 * queries + queriesTurned },
  );
  const operands = [
    ...names.map((name) => name === "q" ? inputs.bind(name) : l.operand(record, name)),
    inputs.bind("k"),
    inputs.bind("v"),
    bindOperand(l, "dy", dy, undefined, half)[0],
  ];
  const flops = sumFlops(work);
  l.dispatch(
    dqProgram(variant),
    [...operands, ...inLayout, ...buffers(angles), l.buffer(dq)],
    parameters,
    overQueries,
    { flops: 3 * flops + queriesTurned + keysTurned(work, lanes) },
  );
  l.dispatch(
    dkvProgram(variant),
    [...operands, ...inLayout, ...buffers(turnsKeys ? angles : []), ...buffers([dk, dv])],
    parameters,
    [Math.ceil(Tk / lanes), K, B],
    { flops: 4 * flops + 2 * keysTurnedOnce },
  );
  l.backend.disposeData(record.dataId);
  return [dq, dk, dv];
}
