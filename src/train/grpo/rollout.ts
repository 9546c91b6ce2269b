/**
 * The result of a round of generation: groups of completions with their advantages and the
 * log-probabilities that training compares with; and how a checkpoint keeps it.
 *
 * @module
 */
import type { DataCursor } from "../batches/example_stream.ts";
import type { GRPOPrompt } from "./prompts.ts";

/** A completion as training sees it. */
export interface RolloutSequence {
  /** At least one; the end token included. */
  readonly tokens: readonly number[];
  /** Has no end token. */
  readonly truncated: boolean;
  readonly advantage: number;
  /** One a token, for losses whose advantages differ within a completion; default: all the same. */
  readonly tokenAdvantages?: readonly number[] | null;
  /** Of each token when it was sampled, in nats, at the sampling temperature. */
  readonly logProbs: readonly number[];
  /** Of each token under the reference; null without a KL term. */
  readonly refLogProbs: readonly number[] | null;
}

/** A prompt with its G completions. */
export interface RolloutGroup {
  readonly prompt: GRPOPrompt;
  readonly sequences: readonly RolloutSequence[];
  /** Of a replayed group: optimizer steps that the policy that sampled it had had. */
  readonly sampledAtStep?: number;
}

/** One round of generation. */
export interface Rollout {
  readonly groups: readonly RolloutGroup[];
  /** Optimizer steps that the sampling policy had had. */
  readonly sampledAtStep: number;
}

/** A group as JSON: numbers as base64 of little-endian float64 and int32. */
export interface StoredGroup {
  readonly cursor: DataCursor;
  /** As in {@linkcode RolloutGroup}. */
  readonly sampledAtStep?: number;
  readonly sequences: readonly {
    readonly tokens: string;
    readonly truncated: boolean;
    readonly advantage: number;
    /** Absent in checkpoints of earlier versions. */
    readonly tokenAdvantages?: string | null;
    readonly logProbs: string;
    readonly refLogProbs: string | null;
  }[];
}

/** A rollout as JSON. */
export interface StoredRollout {
  readonly sampledAtStep: number;
  readonly groups: readonly StoredGroup[];
}

const encodeFloats = (values: readonly number[]): string =>
  new Uint8Array(Float64Array.from(values).buffer).toBase64();
const decodeFloats = (text: string): number[] =>
  Array.from(new Float64Array(Uint8Array.fromBase64(text).buffer));
const encodeIfThere = (values: readonly number[] | null | undefined): string | null =>
  values ? encodeFloats(values) : null;
const decodeIfThere = (text: string | null | undefined): number[] | null =>
  text ? decodeFloats(text) : null;
const encodeIds = (ids: readonly number[]): string =>
  new Uint8Array(Int32Array.from(ids).buffer).toBase64();
const decodeIds = (text: string): number[] =>
  Array.from(new Int32Array(Uint8Array.fromBase64(text).buffer));

/**
 * A group for a checkpoint. Its prompt is kept as a place in the data.
 *
 * @throws {Error} if the prompt is not of the training data
 */
export function storeGroup({ prompt, sequences, sampledAtStep }: RolloutGroup): StoredGroup {
  if (prompt.cursor === null) throw new Error("Cannot store a prompt that has no place");
  return {
    cursor: prompt.cursor,
    ...(sampledAtStep === undefined ? {} : { sampledAtStep }),
    sequences: sequences.map((sequence) => ({
      tokens: encodeIds(sequence.tokens),
      truncated: sequence.truncated,
      advantage: sequence.advantage,
      tokenAdvantages: encodeIfThere(sequence.tokenAdvantages),
      logProbs: encodeFloats(sequence.logProbs),
      refLogProbs: encodeIfThere(sequence.refLogProbs),
    })),
  };
}

/**
 * A group out of a checkpoint, to the bit.
 *
 * @param promptAt reads a prompt again
 */
export async function restoreGroup(
  { cursor, sampledAtStep, sequences }: StoredGroup,
  promptAt: (cursor: DataCursor) => Promise<GRPOPrompt>,
): Promise<RolloutGroup> {
  return {
    prompt: await promptAt(cursor),
    ...(sampledAtStep === undefined ? {} : { sampledAtStep }),
    sequences: sequences.map((sequence) => ({
      tokens: decodeIds(sequence.tokens),
      truncated: sequence.truncated,
      advantage: sequence.advantage,
      tokenAdvantages: decodeIfThere(sequence.tokenAdvantages),
      logProbs: decodeFloats(sequence.logProbs),
      refLogProbs: decodeIfThere(sequence.refLogProbs),
    })),
  };
}

/**
 * A rollout for a checkpoint.
 *
 * @throws {Error} if a prompt is not of the training data
 */
export function storeRollout({ groups, sampledAtStep }: Rollout): StoredRollout {
  return { sampledAtStep, groups: groups.map(storeGroup) };
}

/**
 * A rollout out of a checkpoint, to the bit.
 *
 * @param promptAt reads a prompt again
 */
export async function restoreRollout(
  stored: StoredRollout,
  promptAt: (cursor: DataCursor) => Promise<GRPOPrompt>,
): Promise<Rollout> {
  const groups: RolloutGroup[] = [];
  for (const group of stored.groups) groups.push(await restoreGroup(group, promptAt));
  return { groups, sampledAtStep: stored.sampledAtStep };
}
