/**
 * Mixed precision: which values of a pass are rounded to 16 bits. It follows `torch.autocast`
 * around nanoVLM's forward pass and loss, and the gradients that result. Values flow from op to op as
 * float32 tensors; a rounded one is a float32 that the 16-bit format has too, so that every backend computes
 * the same values, and a kernel that really computes in 16 bits can be compared with them. Ops keep
 * rounded values for the backward pass in 16 bits (`pack_half.ts`), which loses nothing.
 *
 * What is rounded (R); the gradient of every 16-bit value is rounded too, R(dy):
 *
 * | op                               | forward                                    | backward                                |
 * | -------------------------------- | ------------------------------------------ | --------------------------------------- |
 * | linear layers, patch convolution | R(R(x) R(W)ᵀ + R(b)), the sum in float32   | R(R(dy) R(W)), R(R(dy)ᵀ R(x)), R(Σ R(dy)) |
 * | attention                        | R(attention(R(q), R(k), R(v)))             | R of each gradient, from R(dy)          |
 * | tanh-GELU                        | of the rounded fc1; fc2 rounds what it reads | fc1 rounds the gradient               |
 * | SwiGLU                           | R(R(silu(gate)) · up)                      | R after each factor                     |
 * | head                             | R(R(h) R(W)ᵀ); temperature, softmax and log in float32 | as for linear, with R(d logits) |
 * | LoRA                             | each product as above, R(y + s·side)       | R(dy)                                   |
 *
 * Everything else is float32, as under autocast: embeddings, the residual stream (a sum with a
 * float32 operand is float32), LayerNorm, RMSNorm, rotary embedding (its angles are float32),
 * position embeddings, softmax, log-probabilities, losses; master weights, their gradients once R has
 * been applied, moments and updates.
 *
 * On WebGPU, norms, GELU and rotary embedding are rounded as they are stored: the products and the
 * attention that read them would round them. Dropout of an adapter's input then reads a rounded norm.
 *
 * Two things are more exact than in a GPU's kernels. Attention keeps its scores and probabilities in float32
 * through both products. Flash attention has scores, softmax and sums in float32 too, but feeds the
 * probabilities to the second product in 16 bits; the plain one of `torch.autocast` rounds the scores
 * as well. Keys and values that several query heads share get one rounding of their summed gradient;
 * nanoVLM's repeated heads get one each.
 *
 * @module
 */

/** A 16-bit format, by the name of its training option. */
export type HalfFormat = "bf16" | "fp16";

/** How products are computed. */
export type Precision = "float32" | HalfFormat;

let current: Precision = "float32";

/** The 16-bit format of the innermost {@linkcode withPrecision}; null: float32. */
export function halfFormat(): HalfFormat | null {
  return current === "float32" ? null : current;
}

/** What {@linkcode withPrecision} has set; `float32` outside of it. */
export function currentPrecision(): Precision {
  return current;
}

/**
 * Runs `f` with the products of its ops in a precision. Ops remember it for their backward pass.
 *
 * @param precision for the ops that `f` calls
 * @param f must not be asynchronous: code after an `await` would run in the old precision
 */
export function withPrecision<T>(precision: Precision, f: () => T): T {
  const before = current;
  current = precision;
  try {
    return f();
  } finally {
    current = before;
  }
}
