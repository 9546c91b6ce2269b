/**
 * The language-model head and the log-probabilities of given tokens in WGSL, a chunk of rows at a time.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type GradientSums, pairedGradients, wantsGradient } from "../../tape/fused_op.ts";
import { type GpuLaunch, launch, launchAll } from "../runtime/launch.ts";
import { PackedWeight, type Weight } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { canStoreResult, isOneRun, multiply, operandB, type Product } from "./product.ts";
import { wantHalfCopy } from "../runtime/half_copies.ts";
import { storedFormat } from "../runtime/half_storage.ts";
import { type BindingType, cachedProgram, type Program } from "../runtime/program.ts";
import { type RowReduction, rowReduction } from "../runtime/row_reduction.ts";

// N rows, C channels, V vocabulary, n rows of a chunk

/** Logits that exist at a time take at most 32 MiB. */
const CHUNK_BYTES = 32 * 2 ** 20;

const PARAMETERS = {
  R: "u32",
  V: "u32",
  columns: "u32", // in vec4
  firstRow: "u32",
  scale: "f32",
} as const;

/** `inside`: which of the four columns at `c` belong to the vocabulary. */
const INSIDE = "let inside = vec4<u32>(0u, 1u, 2u, 3u) + 4u * c < vec4<u32>(p.V);";

/** logits [n, V] → log p(target) [N] and the log of the sum of exponentials [N]. */
function logProbsProgram(rows: RowReduction, logits: BindingType): Program {
  return cachedProgram(`head log probs ${logits} ${rows.workgroup}`, () => ({
    bindings: [
      { name: "logits", type: logits },
      { name: "targets", type: "i32" },
      { name: "log_probs", type: "f32", write: true },
      { name: "lse", type: "f32", write: true },
    ],
    parameters: PARAMETERS,
    workgroup: rows.workgroup,
    declarations: rows.declarations,
    body: `${rows.begin}
      let at = row * p.columns;
      var mosts = vec4<f32>(-1e30);
      for (var c = first; c < p.columns; c += step) {
        ${INSIDE}
        mosts = max(mosts, select(vec4<f32>(-1e30), load_logits(at + c), inside));
      }
      let most = largest(max(max(mosts.x, mosts.y), max(mosts.z, mosts.w)), lane);
      var sums = vec4<f32>();
      for (var c = first; c < p.columns; c += step) {
        ${INSIDE}
        sums += select(vec4<f32>(), exp((load_logits(at + c) - most) * p.scale), inside);
      }
      let sum = total(dot(sums, vec4<f32>(1.0)), lane);
      if (${rows.writes}) {
        let i = p.firstRow + row;
        let chosen = u32(load_targets(i));
        let normaliser = most * p.scale + log(sum);
        lse[i] = normaliser;
        log_probs[i] = load_logits(at + chosen / 4u)[chosen % 4u] * p.scale - normaliser;
      }`,
  }));
}

/** Turns logits [n, V] into their gradients, rounded in a 16-bit pass, and zeros beyond V. */
function gradientProgram(rows: RowReduction, logits: BindingType, half?: HalfFormat): Program {
  const gradient = "(select(vec4<f32>(), vec4<f32>(1.0), picked) - probability) * slope";
  const kind = `head gradient${half === undefined ? "" : ` ${half}`}`;
  return cachedProgram(`${kind} ${logits} ${rows.workgroup}`, () => ({
    bindings: [
      { name: "dy", type: "f32" },
      { name: "lse", type: "f32" },
      { name: "targets", type: "i32" },
      { name: "logits", type: logits, write: true },
    ],
    parameters: PARAMETERS,
    workgroup: rows.workgroup,
    rounds: half && { format: half, type: "vec4<f32>" },
    body: `${rows.begin}
      let at = row * p.columns;
      let i = p.firstRow + row;
      let slope = load_dy(i) * p.scale;
      let normaliser = load_lse(i);
      let chosen = vec4<u32>(u32(load_targets(i)));
      for (var c = first; c < p.columns; c += step) {
        ${INSIDE}
        let probability = exp(load_logits(at + c) * p.scale - normaliser);
        let picked = vec4<u32>(0u, 1u, 2u, 3u) + 4u * c == chosen;
        let gradient = ${half === undefined ? gradient : `round_half(${gradient})`};
        store_logits(at + c, select(vec4<f32>(), gradient, inside));
      }`,
  }));
}

/** Bytes of a number of that tensor. */
const bytesOf = (tensor: tf.TensorInfo): number => storedFormat(tensor) === undefined ? 4 : 2;

/** The operands of the head's products. */
interface Head {
  readonly hidden: tf.TensorInfo;
  readonly V: number;
  readonly operand: Pick<Product, "b" | "bPacked">;
  /** The format that hidden, head and logits are rounded to. */
  readonly half?: HalfFormat;
}

/** The format that logits are stored in, if their products can store them so. */
function logitsFormat(C: number, V: number, half: HalfFormat | undefined): HalfFormat | null {
  const fits = canStoreResult({ kind: "nt", M: 1, N: Math.ceil(V / 4) * 4, K: C });
  return half !== undefined && fits ? half : null;
}

/** Rows of logits that exist at a time. */
function chunkRows(N: number, V: number, stored: HalfFormat | null): number {
  const rowBytes = Math.ceil(V / 4) * 4 * (stored === null ? 4 : 2);
  return Math.min(N, Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)));
}

/** Computes logits chunk by chunk and gives each to `use`, with its first row and number of rows. */
function overChunks(
  l: GpuLaunch,
  { hidden, V, operand, half }: Head,
  use: (logits: tf.TensorInfo, firstRow: number, rows: number, columns: number) => void,
): void {
  const [N, C] = hidden.shape;
  const columns = Math.ceil(V / 4) * 4;
  const stored = logitsFormat(C, V, half);
  const step = chunkRows(N, V, stored);
  const logits = l.halfOutput([step, columns], stored);
  for (let aRow = 0; aRow < N; aRow += step) {
    const M = Math.min(step, N - aRow);
    multiply(l, {
      ...{ kind: "nt", M, N: V, K: C, a: hidden, ...operand, c: logits },
      ...{ aRow, cColumns: columns, half, roundsResult: half !== undefined },
    });
    use(logits, aRow, M, columns);
  }
  l.backend.disposeData(logits.dataId);
}

/**
 * log p(targets): hidden [N, C], head [V, C], targets [N] → [N].
 *
 * @param half in a 16-bit pass: hidden, head, logits and all gradients are rounded to it
 */
export function headLogProbs(
  hidden: tf.Tensor2D,
  head: Weight,
  targets: Int32Array,
  temperature: number,
  half?: HalfFormat,
): tf.Tensor1D {
  const [N, C] = hidden.shape;
  const V = head.shape[0];
  const scale = 1 / temperature;
  const weight = head instanceof PackedWeight ? head.words : head;
  const headIsTrained = wantsGradient(weight);
  if (half !== undefined && head instanceof tf.Variable && headIsTrained) wantHalfCopy(head, half);
  return launch({
    name: "GpuHeadLogProbs",
    inputs: { hidden, weight },
    saveInputs: ["hidden", "weight"],
    saveOutputs: [false, true],
    run: (l) => {
      const logProbs = l.output([N]);
      const lse = l.output([N]);
      const ids = l.integers(targets);
      const reduction = rowReduction(l.isFallback, V / 4);
      const work = { hidden, V, operand: operandB(head, weight), half };
      overChunks(l, work, (logits, firstRow, R, columns) =>
        l.dispatch(
          logProbsProgram(reduction, storedFormat(logits) ?? "vec4<f32>"),
          [l.words(logits), ids, l.buffer(logProbs), l.buffer(lse)],
          { R, V, columns: columns / 4, firstRow, scale },
          reduction.groups(R),
          { flops: 5 * R * V, bytes: R * (bytesOf(logits) * columns + 12) },
        ));
      return [logProbs, lse];
    },
    gradient: (dy, [hidden, weight, lse]) => {
      const compute = (
        wantsHidden: boolean,
        wantsHead: boolean,
        sums: GradientSums,
      ): tf.Tensor[] =>
        launchAll({
          name: "GpuHeadBackward",
          inputs: { dy, hidden, weight, lse },
          run: (l) => {
            const dHidden = wantsHidden ? l.output([N, C]) : null;
            // A sum over chunks is rounded at the end, and cannot be added to another sum then.
            const inOne = chunkRows(N, V, logitsFormat(C, V, half)) === N && isOneRun({ K: N });
            const sum = half === undefined || inOne ? sums.weight : undefined;
            const dHead = wantsHead ? l.target([V, C], sum) : null;
            const operand = operandB(head, weight);
            const ids = l.integers(targets);
            const reduction = rowReduction(l.isFallback, V / 4);
            const roundsSum = half !== undefined;
            overChunks(l, { hidden, V, operand, half }, (logits, firstRow, R, columns) => {
              l.dispatch(
                gradientProgram(reduction, storedFormat(logits) ?? "vec4<f32>", half),
                [l.buffer(dy), l.buffer(lse), ids, l.words(logits)],
                { R, V, columns: columns / 4, firstRow, scale },
                reduction.groups(R),
                { flops: 5 * R * V, bytes: R * (bytesOf(logits) * 2 * columns + 12) },
              );
              if (dHidden !== null) {
                multiply(l, {
                  ...{ kind: "nn", M: R, N: C, K: columns, a: logits, ...operand, c: dHidden },
                  ...{ cRow: firstRow, half, roundsSum },
                });
              }
              if (dHead !== null) {
                const isLast = firstRow + R === N;
                multiply(l, {
                  ...{ kind: "tn", M: V, N: C, K: R, a: logits, b: hidden, c: dHead, half },
                  ...{ aColumns: columns, bRow: firstRow },
                  accumulate: sum !== undefined || firstRow > 0,
                  ...inOne ? { roundsSum } : { roundsResult: roundsSum && isLast },
                });
              }
            });
            return [dHidden, dHead].filter((tensor) => tensor !== null);
          },
        });
      // The logits are computed again once for all gradients that are wanted.
      const [ofHidden, ofHead] = pairedGradients(compute, headIsTrained);
      return { hidden: ofHidden, weight: ofHead };
    },
  });
}
