/**
 * Bytes of a training step over the tokens of a batch and over the vocabulary.
 *
 * @module
 */
import { peakTensorBytes } from "../train/dry_run/peak_tensor_bytes.ts";
import type { Precision } from "../ops/half/precision.ts";
import { type BenchDims, benchModel, parameterCount } from "./bench_work.ts";
import { peakMebibytes } from "./process_memory.ts";
import { StepWork } from "./step_bench.ts";

/** One step's memory, mebibytes. */
export interface MemoryRow {
  /** What grows. */
  readonly over: "tokens" | "vocabulary";
  /** Of the whole batch. */
  readonly tokens: number;
  readonly vocabulary: number;
  readonly weights_mib: number;
  readonly gradients_mib: number;
  /** The most that tensors held during forward and backward beyond weights and moments. */
  readonly step_mib: number;
  /** Of it, what is not gradients of weights. */
  readonly activations_mib: number;
  /** The highest resident memory of the process so far; null if the system does not tell. */
  readonly process_mib: number | null;
}

const MEBIBYTE = 2 ** 20;

async function measure(
  dims: BenchDims,
  over: MemoryRow["over"],
  precision: Precision,
): Promise<MemoryRow> {
  const model = benchModel(dims);
  model.precision = precision;
  const work = new StepWork(model, dims);
  try {
    const parametersMib = 4 * parameterCount(dims) / MEBIBYTE;
    const { peakBytes } = await peakTensorBytes(async () => (await work.step()).dispose());
    const step = peakBytes / MEBIBYTE;
    return {
      over,
      tokens: dims.rows * dims.tokens,
      vocabulary: dims.config.lm_vocab_size,
      weights_mib: parametersMib,
      gradients_mib: parametersMib,
      step_mib: step,
      activations_mib: step - parametersMib,
      process_mib: peakMebibytes(),
    };
  } finally {
    work.dispose();
    model.dispose();
  }
}

/** Dims with another vocabulary. */
function withVocabulary(dims: BenchDims, vocabulary: number): BenchDims {
  const config = {
    ...dims.config,
    lm_vocab_size: vocabulary,
    lm_base_vocab_size: vocabulary - dims.config.extra_token_amount,
  };
  return { ...dims, config };
}

/**
 * Steps of growing size.
 *
 * @param dims the model
 * @param options `factors` of the tokens, of which 1 is the model's own batch; sizes of
 *   `vocabularies`; `precision` of the step
 */
export async function benchMemory(
  dims: BenchDims,
  {
    factors = [1, 2, 3, 4],
    vocabularies = [600, 12_000, 24_000, 49_218],
    precision = "float32",
  }: {
    readonly factors?: readonly number[];
    readonly vocabularies?: readonly number[];
    readonly precision?: Precision;
  } = {},
): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const factor of factors) {
    rows.push(await measure({ ...dims, tokens: dims.tokens * factor }, "tokens", precision));
  }
  for (const vocabulary of vocabularies) {
    rows.push(await measure(withVocabulary(dims, vocabulary), "vocabulary", precision));
  }
  return rows;
}
