/**
 * Which weights LoRA leaves frozen, and in how many bits they are kept.
 *
 * @module
 */
import type { ModelSection, TrainingSection } from "../../config/types/config_types.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import {
  type HostWeights,
  type PackedHostWeights,
  packEightBits,
  packRounded,
} from "../../model/packed_weights.ts";
import { releaseUploaded } from "../../model/release_memory.ts";
import type { PackedFormat } from "../../ops/half/packed_weight.ts";

/** The keys of `training` that decide what is frozen and how it is kept. */
export type FrozenSettings = Pick<
  TrainingSection,
  "lr_mp" | "lr_vision_backbone" | "bf16" | "fp16"
>;

/** What is kept in 16 bits. */
export interface FrozenWeights {
  /** Whether a weight, by nanoVLM's name, never trains and may stay in 16 bits. */
  readonly keepPacked: (name: string) => boolean;
  /**
   * What a frozen matrix is rounded to: a float32 one to 16 bits, as autocast rounds it at each use,
   * or any to 8 bits; null: it is not.
   */
  readonly roundTo: (name: string) => PackedFormat | null;
}

/**
 * Whether a weight is embedding or head, which are not rounded: autocast does not round an embedding,
 * and a tied head is the same tensor.
 */
export function isTable(name: string): boolean {
  return /^decoder\.(head|token_embedding)\./.test(name);
}

/**
 * With adapters the decoder's own weights are frozen, and so are projector and vision encoder if
 * their rates are 0. Frozen matrices stay in the 16 bits that their file has. Float32 ones stay float32;
 * under `bf16` or `fp16`, which round them at each use, those of linear layers are rounded once
 * instead. DoRA's stay unrounded, since its norms are those of the unrounded weights. Under
 * `load_in_8bit` the frozen matrices of linear layers are rounded to 8 bits, DoRA's too.
 */
export function frozenWeights(section: ModelSection, training: FrozenSettings): FrozenWeights {
  const keepPacked = (name: string): boolean =>
    section.use_lora &&
    (name.startsWith("decoder.") ||
      (name.startsWith("MP.") && training.lr_mp === 0) ||
      (name.startsWith("vision_encoder.") && training.lr_vision_backbone === 0));
  const format = training.bf16 ? "BF16" : training.fp16 ? "F16" : null;
  return {
    keepPacked,
    roundTo: (name) => {
      if (!keepPacked(name) || isTable(name)) return null;
      return section.load_in_8bit ? "Q8" : section.lora_config.use_dora ? null : format;
    },
  };
}

/** Weights to be uploaded, the frozen ones rounded if that is asked for. */
export function* roundFrozen(
  weights: Iterable<[string, HostWeights | PackedHostWeights]>,
  { roundTo }: FrozenWeights,
): Generator<[string, HostWeights | PackedHostWeights]> {
  for (const [name, values] of weights) {
    const format = roundTo(name);
    const packed = format === "Q8"
      ? packEightBits(values)
      : format !== null && !("bits" in values)
      ? packRounded(values, format)
      : null;
    yield [name, packed ?? values];
    if (packed !== null) releaseUploaded(packed);
  }
}

/** A line for the log; null if nothing is kept in fewer bits. */
export function packedNote(model: VisionLanguageModel, training: FrozenSettings): string | null {
  const packed = [...model.packedWeights.values()];
  if (packed.length === 0) return null;
  const saved = packed.reduce((sum, { size, byteLength }) => sum + 4 * size - byteLength, 0);
  const key = training.bf16 ? "bf16" : training.fp16 ? "fp16" : null;
  const eight = packed.filter(({ format }) => format === "Q8").length;
  const rounded = `${eight} frozen matrices are rounded to 8 bits by model.load_in_8bit`;
  const sixteen =
    `${packed.length - eight} frozen matrices are kept in 16 bits, as their file has ` +
    `them` + (key === null ? "" : ` or, where it has float32, rounded by training.${key}`);
  const kinds = [...(eight > 0 ? [rounded] : []), ...(packed.length > eight ? [sixteen] : [])];
  return `${kinds.join(", ")}: ${Math.round(saved / 2 ** 20)} MiB less`;
}
