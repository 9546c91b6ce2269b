/**
 * A fully connected layer as one op, written once for all backends that have their own matrix product:
 * y = x Wᵀ + s · (x Aᵀ) Bᵀ + b, and its tanh-GELU, without a tensor of [N, O] beside the result.
 *
 * The branch is LoRA's (Hu et al., 2021, eq. 3). Its second product adds to the result of the base
 * product; h = s · x Aᵀ is kept for the backward pass:
 *
 * - dx = dy W + g A with g = s · dy B, added the same way
 * - dA = gᵀ x, dB = dyᵀ h, dW = dyᵀ x, db = Σ dy
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import {
  firstOutput,
  type FusedOp,
  type GradientFunction,
  sharedGradients,
  wantsGradient,
} from "./tape/fused_op.ts";
import { PackedWeight, type Weight } from "./half/packed_weight.ts";

// N rows, I input features, O output features, r rank

/** The LoRA branch: scaling · (input Aᵀ) Bᵀ. */
export interface LowRankBranch {
  /** A, [r, I]. */
  readonly loraA: tf.Tensor;
  /** B, [O, r]. */
  readonly loraB: tf.Tensor;
  /** α / r, or α / √r. */
  readonly scaling: number;
  /** What the branch reads if it is not x itself, as with dropout; shaped as x. */
  readonly input?: tf.Tensor;
  /** Computes `input` from x again, so that only x is kept for the backward pass. */
  readonly remakeInput?: (x: tf.Tensor) => tf.Tensor;
}

/** A product C = scale · op(A) op(B), and what is done to C afterwards. */
export interface LinearProduct {
  /** `nt`: A [M, K], B [N, K]; `nn`: A [M, K], B [K, N]; `tn`: A [K, M], B [K, N]. */
  readonly kind: "nt" | "nn" | "tn";
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: tf.TensorInfo;
  /** Packed: not `tn`. */
  readonly b: tf.TensorInfo | PackedWeight;
  readonly c: tf.TensorInfo;
  /** Adds to what C holds; then there is no scale. */
  readonly accumulate?: boolean;
  readonly scale?: number;
  /** [N], added to every row. */
  readonly bias?: tf.TensorInfo;
  /** The tensor that GELU(C) is written to. */
  readonly activated?: tf.TensorInfo;
}

/** What a backend provides for the op. */
export interface LinearKernels<Tools> {
  /** Of the names of its kernels. */
  readonly prefix: string;
  launchAll(op: FusedOp<Tools>): tf.Tensor[];
  /** A new tensor, its values undefined; or the sum that a product adds to. */
  target(tools: Tools, shape: readonly number[], sum?: tf.TensorInfo): tf.TensorInfo;
  multiply(tools: Tools, product: LinearProduct): void;
  /** [..., C] → [C]. */
  columnSum(x: tf.Tensor): tf.Tensor;
  /** The GELU op of `x` whose value has been computed already. */
  gelu(x: tf.Tensor, activated: tf.TensorInfo): tf.Tensor;
}

/** Options of the layer. */
export interface LinearExtras {
  readonly branch?: LowRankBranch;
  /** Whether to return GELU(y). */
  readonly gelu?: boolean;
}

/** Options of a layer in a block. */
export interface ResidualExtras extends LinearExtras {
  /** Added to the result, and shaped as it. */
  readonly residual?: tf.Tensor;
}

function checkShapes(x: tf.Tensor, weight: Weight, branch: LowRankBranch | undefined): void {
  const [O, I] = weight.shape;
  if (x.shape[x.rank - 1] !== I) {
    throw new Error(
      `Cannot run a linear layer [${weight.shape}] on [${x.shape}]: the last dim must be ${I}.`,
    );
  }
  if (branch === undefined) return;
  const { loraA: { shape: a }, loraB: { shape: b }, input } = branch;
  if (a[1] !== I || b[0] !== O || a[0] !== b[1]) {
    throw new Error(
      `Cannot add a LoRA branch of A [${a}] and B [${b}] to a linear layer [${weight.shape}]: ` +
        `they must be [r, ${I}] and [${O}, r]`,
    );
  }
  if (input !== undefined && input.shape.join() !== x.shape.join()) {
    throw new Error(
      `Cannot add a LoRA branch: its input is [${input.shape}], the layer's is [${x.shape}]`,
    );
  }
}

/** op(A) op(B) as an op without a gradient, added to `sum` if given. */
function productOp<Tools>(
  kernels: LinearKernels<Tools>,
  shape: readonly number[],
  product: Omit<LinearProduct, "a" | "b" | "c"> & { readonly a: tf.Tensor; readonly b: Weight },
  sum?: tf.Tensor,
): tf.Tensor {
  const { a, b } = product;
  return firstOutput(kernels.launchAll({
    name: `${kernels.prefix}LinearProduct`,
    inputs: { a, b: b instanceof PackedWeight ? b.words : b },
    run: (tools) => {
      const c = kernels.target(tools, shape, sum);
      kernels.multiply(tools, { ...product, c, accumulate: sum !== undefined });
      return [c];
    },
  }));
}

/** g A, plus dy W if a weight is given, added to `sum` if given; and g: [..., I], [N, r]. */
function branchGradients<Tools>(
  kernels: LinearKernels<Tools>,
  dy: tf.Tensor,
  weight: Weight | null,
  { loraA, loraB, scaling }: LowRankBranch,
  sum?: tf.Tensor,
): tf.Tensor[] {
  const [r, I] = loraA.shape;
  const O = loraB.shape[0];
  const N = dy.size / O;
  const words = weight instanceof PackedWeight ? weight.words : weight;
  return kernels.launchAll({
    name: `${kernels.prefix}LinearBranchGradients`,
    inputs: { dy, loraA, loraB, ...(words === null ? {} : { weight: words }) },
    run: (tools) => {
      const dx = kernels.target(tools, [...dy.shape.slice(0, -1), I], sum);
      const g = kernels.target(tools, [N, r]);
      const { multiply } = kernels;
      multiply(tools, { kind: "nn", M: N, N: r, K: O, a: dy, b: loraB, c: g, scale: scaling });
      const c = dx;
      const product = { kind: "nn", M: N, N: I, K: O, a: dy, c } as const;
      if (weight !== null) {
        multiply(tools, { ...product, b: weight, accumulate: sum !== undefined });
      }
      const accumulate = weight !== null || sum !== undefined;
      multiply(tools, { kind: "nn", M: N, N: I, K: r, a: g, b: loraA, c, accumulate });
      return [dx, g];
    },
  });
}

/**
 * The layer as one op of the backend.
 *
 * @param x [..., I]
 * @param weight [O, I]; a packed one is frozen
 * @param bias [O], if there is one
 * @returns [..., O]
 * @throws {Error} if shapes do not match
 */
export function fusedLinear<Tools>(
  kernels: LinearKernels<Tools>,
  x: tf.Tensor,
  weight: Weight,
  bias?: tf.Tensor,
  { branch, gelu = false }: LinearExtras = {},
): tf.Tensor {
  checkShapes(x, weight, branch);
  const [O, I] = weight.shape;
  const N = x.size / I;
  const r = branch?.loraA.shape[0] ?? 0;
  const packed = weight instanceof PackedWeight;
  const trains = !packed && wantsGradient(weight);
  let activated: tf.TensorInfo | undefined;

  const forward = (tools: Tools): tf.TensorInfo[] => {
    const c = kernels.target(tools, [...x.shape.slice(0, -1), O]);
    if (gelu) activated = kernels.target(tools, c.shape);
    const last = { bias, activated };
    const { multiply } = kernels;
    const base = { kind: "nt", M: N, N: O, K: I, a: x, b: weight, c } as const;
    if (branch === undefined) {
      multiply(tools, { ...base, ...last });
      return [c];
    }
    const { loraA, loraB, scaling, input = x } = branch;
    const h = kernels.target(tools, [N, r]);
    multiply(tools, { kind: "nt", M: N, N: r, K: I, a: input, b: loraA, c: h, scale: scaling });
    multiply(tools, base);
    const side = { kind: "nt", M: N, N: O, K: r, a: h, b: loraB, c } as const;
    multiply(tools, { ...side, ...last, accumulate: true });
    return [c, h];
  };

  // The backward pass asks for gradients in this order.
  const inputs = {
    x,
    ...(packed ? { words: weight.words } : { weight }),
    ...(bias && { bias }),
    ...(branch?.input && { input: branch.input }),
    ...(branch && { loraA: branch.loraA, loraB: branch.loraB }),
  };
  const keepsInput = branch?.input !== undefined && branch.remakeInput === undefined;
  const saveInputs = [
    ...(trains || (branch !== undefined && !keepsInput) ? ["x"] : []),
    ...(packed ? [] : ["weight"]),
    ...(keepsInput ? ["input"] : []),
    ...(branch ? ["loraA", "loraB"] : []),
  ];
  const z = firstOutput(kernels.launchAll({
    name: `${kernels.prefix}Linear ${Object.keys(inputs)} keeps ${saveInputs}`,
    inputs,
    saveInputs,
    saveOutputs: [false, branch !== undefined],
    run: forward,
    gradient: (dy, saved) => {
      const kept = Object.fromEntries(saveInputs.map((name, i) => [name, saved[i]]));
      const W: Weight = packed ? weight : kept.weight;
      const dx: GradientFunction = (sums) =>
        productOp(kernels, x.shape, { kind: "nn", M: N, N: I, K: O, a: dy, b: W }, sums?.x);
      const overRows = {
        weight: (sums) => {
          const product = { kind: "tn", M: O, N: I, K: N, a: dy, b: kept.x } as const;
          return productOp(kernels, [O, I], product, sums?.weight);
        },
        bias: () => kernels.columnSum(dy),
      } satisfies Record<string, GradientFunction>;
      if (branch === undefined) return { x: dx, ...overRows };
      const { loraA, loraB } = kept;
      const apart = branch.input !== undefined;
      const own = { loraA, loraB, scaling: branch.scaling };
      const both = sharedGradients((sums) =>
        branchGradients(kernels, dy, apart ? null : W, own, apart ? sums.input : sums.x)
      );
      let ranBefore = false;
      const ofBranch: GradientFunction = (sums) => {
        ranBefore = true;
        return both(0)(sums);
      };
      return {
        ...overRows,
        ...(apart ? { x: dx, input: ofBranch } : { x: ofBranch }),
        loraA: (sums) => {
          const scale = branch.scaling;
          const g = ranBefore // [N, r]
            ? both(1)()
            : productOp(kernels, [N, r], { kind: "nn", M: N, N: r, K: O, a: dy, b: loraB, scale });
          const b = kept.input ?? branch.remakeInput?.(kept.x) ?? kept.x;
          const product = { kind: "tn", M: r, N: I, K: N, a: g, b } as const;
          return productOp(kernels, [r, I], product, sums?.loraA);
        },
        loraB: (sums) => {
          const h = saved[saveInputs.length]; // [N, r]
          const product = { kind: "tn", M: O, N: r, K: N, a: dy, b: h } as const;
          return productOp(kernels, [O, r], product, sums?.loraB);
        },
      };
    },
  }));
  if (activated === undefined) return z;
  // One pass computed both. On the tape they are two ops, so that the gradient of z is computed once.
  const y = kernels.gelu(z, activated);
  z.dispose();
  return y;
}
