/**
 * The result of a round of generation: groups of completions with their advantages and the
 * log-probabilities that training compares with; and how a checkpoint keeps it.
 *
 * @module
 */
import type { DataCursor } from "../batches/example_stream.ts";
import type { ImageTiles } from "../../model/batch.ts";
import type { GRPOPrompt } from "./prompts.ts";

/** A picture that an environment showed. */
export interface EpisodePicture {
  /** PNG, or the file that the environment gave. */
  readonly bytes: Uint8Array;
  readonly image: ImageTiles;
}

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
  /**
   * Which tokens the model chose; the others are an environment's replies, which carry no loss.
   * Default: all.
   */
  readonly chosen?: readonly boolean[] | null;
  /** Pictures of those replies, in the order of their image tokens; default: none. */
  readonly pictures?: readonly EpisodePicture[];
}

/** The places of the tokens that the model chose. */
export function chosenPlaces(
  { tokens, chosen }: Pick<RolloutSequence, "tokens" | "chosen">,
): number[] {
  const places = [...tokens.keys()];
  return chosen ? places.filter((t) => chosen[t]) : places;
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
    /** Bytes of 0 and 1; absent without an environment. */
    readonly chosen?: string;
    /** Absent without an environment. */
    readonly pictures?: readonly string[];
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
      ...(sequence.chosen ? { chosen: Uint8Array.from(sequence.chosen, Number).toBase64() } : {}),
      ...(sequence.pictures?.length
        ? { pictures: sequence.pictures.map(({ bytes }) => bytes.toBase64()) }
        : {}),
    })),
  };
}

/** Processes files of pictures. */
export type PicturesOf = (files: readonly Uint8Array[]) => Promise<EpisodePicture[]>;

const noPictures: PicturesOf = () =>
  Promise.reject(
    new Error(
      "Cannot go on from the checkpoint: its completions hold pictures of an environment, and " +
        "this run has none; set grpo.environment as it was",
    ),
  );

/**
 * A group out of a checkpoint, to the bit.
 *
 * @param promptAt reads a prompt again
 * @param picturesOf processes an environment's pictures again; needed if there are any
 */
export async function restoreGroup(
  { cursor, sampledAtStep, sequences }: StoredGroup,
  promptAt: (cursor: DataCursor) => Promise<GRPOPrompt>,
  picturesOf: PicturesOf = noPictures,
): Promise<RolloutGroup> {
  return {
    prompt: await promptAt(cursor),
    ...(sampledAtStep === undefined ? {} : { sampledAtStep }),
    sequences: await Promise.all(sequences.map(async (sequence) => ({
      tokens: decodeIds(sequence.tokens),
      truncated: sequence.truncated,
      advantage: sequence.advantage,
      tokenAdvantages: decodeIfThere(sequence.tokenAdvantages),
      logProbs: decodeFloats(sequence.logProbs),
      refLogProbs: decodeIfThere(sequence.refLogProbs),
      ...(sequence.chosen === undefined
        ? {}
        : { chosen: Array.from(Uint8Array.fromBase64(sequence.chosen), Boolean) }),
      ...(sequence.pictures === undefined ? {} : {
        pictures: await picturesOf(sequence.pictures.map((one) => Uint8Array.fromBase64(one))),
      }),
    }))),
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
 * @param picturesOf processes an environment's pictures again; needed if there are any
 */
export async function restoreRollout(
  stored: StoredRollout,
  promptAt: (cursor: DataCursor) => Promise<GRPOPrompt>,
  picturesOf: PicturesOf = noPictures,
): Promise<Rollout> {
  const groups: RolloutGroup[] = [];
  for (const group of stored.groups) {
    groups.push(await restoreGroup(group, promptAt, picturesOf));
  }
  return { groups, sampledAtStep: stored.sampledAtStep };
}
