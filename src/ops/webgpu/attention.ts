/**
 * Attention in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type AttentionDims, attentionDims, type AttentionLayout } from "../attention_layout.ts";
import { sharedGradients } from "../fused_op.ts";
import type { RotaryAngles, Rotation } from "../rotary_angles.ts";
import { dkvProgram, dqProgram, forwardProgram, recordProgram } from "./attention_program.ts";
import { packLayout } from "./attention_windows.ts";
import { type AttentionVariant, queryRecord } from "./attention_wgsl.ts";
import { currentLaunch, type GpuLaunch, launch, launchAll, type Resource } from "./launch.ts";
import { rope } from "./layouts.ts";
import { MAX_ITERATIONS } from "./program.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/** What the gradients of keys and values bind, the most of all: operands, layout and results. */
const BINDINGS = { operands: 5, buffers: 3 };

/** And the angles with them. */
const TURNING_BINDINGS = { operands: 4, buffers: 5 };

/** Larger heads would not stay in registers. */
const MAX_HEAD_DIM = 128;

/** Dims of the keys that a workgroup of a hardware adapter holds: 4 KiB, and as much of the values. */
const TILE_DIMS = 1024;

/** What attention works on. */
interface Work {
  readonly dims: AttentionDims;
  readonly layout: AttentionLayout | null;
  readonly turns: AttentionVariant["turns"];
}

function variantOf(l: GpuLaunch, { dims: { D }, layout, turns }: Work): AttentionVariant {
  return {
    D4: D / 4,
    operand: l.operandType,
    lanes: l.isFallback ? 8 : 64,
    tile: l.isFallback ? 0 : Math.min(16, Math.floor(TILE_DIMS / D)),
    layout: layout === null ? "none" : layout.rowOffsets === null ? "even" : "joined",
    turns,
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

/** Gradients of q, k and v at once: three outputs shaped as they are. */
function attentionGradients(work: Work, dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] {
  const { B, Tq, Tk, N, H, K } = work.dims;
  const [q, k, v] = saved;
  const angles = saved.slice(3, -2); // cos and sin, or none
  const [out, lse] = saved.slice(-2);
  const named = Object.fromEntries(angles.map((x, i) => [["cos", "sin"][i], x]));
  return launchAll({
    name: "GpuAttentionBackward",
    inputs: { dy, q, k, v, out, lse, ...named },
    run: (l) => {
      const variant = variantOf(l, work);
      const parameters = parametersOf(work);
      const { lanes } = variant;
      const [dq, dk, dv] = [q, k, v].map((x) => l.output(x.shape));
      const { names, width, isScaled } = queryRecord(variant);
      const record = l.output([N, H, 4 * width]);
      const overQueries: [number, number, number] = [Math.ceil(Tq / lanes), H, B];
      const inLayout = layoutBuffer(l, work, lanes);
      const buffers = (tensors: tf.TensorInfo[]) => tensors.map((x) => l.buffer(x));
      const turnsKeys = work.turns === "queries and keys";
      const ofQueries = angles.length > 0 ? turningFlops(q.size) : 0;
      const ofKeys = turnsKeys ? turningFlops(k.size) : 0;
      l.dispatch(
        recordProgram(variant),
        [
          ...buffers([...isScaled ? [q] : [], out, dy, lse]),
          ...inLayout,
          ...buffers([...angles, record]),
        ],
        parameters,
        overQueries,
        { flops: 2 * dy.size + ofQueries },
      );
      const operands = [
        ...names.map((name) => l.operand(name === "q" ? q : record, name)),
        l.operand(k, "k"),
        l.operand(v, "v"),
        l.operand(dy, "dy"),
      ];
      const flops = sumFlops(work);
      l.dispatch(
        dqProgram(variant),
        [...operands, ...inLayout, ...buffers(angles), l.buffer(dq)],
        parameters,
        overQueries,
        { flops: 3 * flops + ofQueries + keysTurned(work, lanes) },
      );
      l.dispatch(
        dkvProgram(variant),
        [...operands, ...inLayout, ...buffers(turnsKeys ? angles : []), ...buffers([dk, dv])],
        parameters,
        [Math.ceil(Tk / lanes), K, B],
        { flops: 4 * flops + 2 * ofKeys },
      );
      l.backend.disposeData(record.dataId);
      return [dq, dk, dv];
    },
  });
}

/** Operations of turning the keys once for `lanes` queries that see them. */
function keysTurned(work: Work, lanes: number): number {
  return work.turns === "queries and keys" ? turningFlops(sumFlops(work) / 2 / lanes) : 0;
}

/**
 * Attention: q [B, Tq, H, D], k and v [B, Tk, K, D], turned by `rotation` → [B, Tq, H·D].
 *
 * @returns null where the head dim is no multiple of 4 or too large, a row too long for a loop, or the
 * adapter binds too little: the composite's business
 */
export function attention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): tf.Tensor3D | null {
  const dims = attentionDims(q, k, layout, rotation);
  const { B, Tq, Tk, N, H, K, D } = dims;
  const [batch, queries] = q.shape;
  if (D % 4 !== 0 || D > MAX_HEAD_DIM) return null;
  if (Math.max(Tk, Tq * H / K) > MAX_ITERATIONS) return null;
  const current = currentLaunch();
  if (!current.canBind(BINDINGS)) return null;
  let angles: RotaryAngles | null = rotation?.angles ?? null;
  let turnsKeys = rotation?.keys === true;
  // An op of its own turns what the kernels do not: keys where no memory of a workgroup holds them
  // turned, all where the halves of a head are no whole vectors or angles cannot be bound.
  const turnsHere = D % 8 === 0 && current.canBind(TURNING_BINDINGS);
  if (angles !== null && turnsKeys && (current.isFallback || !turnsHere)) {
    k = rope(k, angles.cos, angles.sin);
    turnsKeys = false;
  }
  if (angles !== null && !turnsHere) {
    q = rope(q, angles.cos, angles.sin);
    angles = null;
  }
  const turns = angles === null ? "nothing" : turnsKeys ? "queries and keys" : "queries";
  const work: Work = { dims, layout, turns };
  const named: tf.NamedTensorMap = angles === null ? {} : { cos: angles.cos, sin: angles.sin };
  return launch({
    name: angles === null ? "GpuAttention" : "GpuRotaryAttention",
    inputs: { q, k, v, ...named },
    saveInputs: ["q", "k", "v", ...Object.keys(named)],
    saveOutputs: [true, true],
    run: (l) => {
      const variant = variantOf(l, work);
      const { lanes } = variant;
      const out = l.output([batch, queries, H * D]);
      const lse = l.output([N, H]);
      const operands = [l.operand(q, "q"), l.operand(k, "k"), l.operand(v, "v")];
      l.dispatch(
        forwardProgram(variant),
        [
          ...operands,
          ...layoutBuffer(l, work, lanes),
          ...Object.values(named).map((x) => l.buffer(x)),
          l.buffer(out),
          l.buffer(lse),
        ],
        parametersOf(work),
        [Math.ceil(Tq / lanes), H, B],
        {
          flops: 2 * sumFlops(work) + (angles === null ? 0 : turningFlops(q.size)) +
            keysTurned(work, lanes),
        },
      );
      return [out, lse];
    },
    gradient: (dy, saved) => {
      const get = sharedGradients(() => attentionGradients(work, dy, saved));
      return { q: get(0), k: get(1), v: get(2) };
    },
  });
}
