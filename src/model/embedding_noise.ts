/**
 * Noise on the embeddings of text tokens while training (Jain et al., "NEFTune: noisy embeddings improve
 * instruction finetuning", 2023, arXiv 2310.05914, algorithm 1), as Transformers does it: uniform
 * in ±alpha / √(L·C) for a row of L tokens of C channels. Image tokens count in L and get none, since
 * their embeddings are the picture's.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { DropoutKeys, uniformNoise } from "../ops/activations.ts";

/** The noise of one pass. */
export interface EmbeddingNoise {
  readonly alpha: number;
  /** Of `DropoutKeys`: another key is other noise. */
  readonly key: number;
  /** Tokens of each row of the batch; their sum is all tokens. */
  readonly rowLengths: readonly number[];
}

/** Another stream than that of dropout. */
const STREAM = 0x4e454654;

/**
 * The noise of a pass over rows.
 *
 * @param alpha undefined or 0: none
 * @param pass the number of the pass in a run of a seed, which chooses the random numbers
 * @param rows of the batch
 */
export function embeddingNoise(
  alpha: number | undefined,
  { seed, pass }: { readonly seed: number; readonly pass: number },
  rows: readonly { readonly inputIds: ArrayLike<number> }[],
): EmbeddingNoise | undefined {
  if (!alpha) return undefined;
  const key = new DropoutKeys(seed ^ STREAM, pass).next();
  return { alpha, key, rowLengths: rows.map(({ inputIds }) => inputIds.length) };
}

/**
 * Adds noise.
 *
 * @param embeddings [N, C], the rows one behind the other
 * @returns [N, C]
 */
export function addEmbeddingNoise(
  embeddings: tf.Tensor2D,
  { alpha, key, rowLengths }: EmbeddingNoise,
): tf.Tensor2D {
  const [N, C] = embeddings.shape;
  const total = rowLengths.reduce((sum, length) => sum + length, 0);
  if (total !== N) {
    throw new Error(
      `Cannot add noise to ${N} embeddings: rowLengths has ${total} tokens; give the tokens of ` +
        "each row of the batch",
    );
  }
  const noise = uniformNoise(N * C, key);
  let at = 0;
  for (const length of rowLengths) {
    const magnitude = alpha / Math.sqrt(length * C);
    for (const end = at + length * C; at < end; at++) noise[at] *= magnitude;
  }
  return embeddings.add(tf.tensor2d(noise, [N, C]));
}
