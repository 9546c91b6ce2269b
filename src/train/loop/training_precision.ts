/**
 * The precision that `training.bf16` and `training.fp16` ask for.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { ActiveBackend } from "../../device/backend.ts";
import type { Precision } from "../../ops/half/precision.ts";

/**
 * How a run computes. Evaluation, generation and reference models do as training does, as under
 * Transformers' Trainer.
 *
 * @throws {Error} if both options are set
 */
export function trainingPrecision(training: Pick<TrainingSection, "bf16" | "fp16">): Precision {
  if (training.bf16 && training.fp16) {
    throw new Error(
      "Cannot train in bf16 and fp16 at once: set training.fp16=false (bf16 has the range of " +
        "float32 and needs no loss scaling) or training.bf16=false",
    );
  }
  return training.bf16 ? "bf16" : training.fp16 ? "fp16" : "float32";
}

/**
 * What the user should know of a precision.
 *
 * @param backend that runs it
 * @returns null for float32
 */
export function precisionNote(
  precision: Precision,
  { name, adapterInfo }: Pick<ActiveBackend, "name" | "adapterInfo">,
): string | null {
  if (precision === "float32") return null;
  const format = precision === "bf16" ? "bfloat16" : "float16";
  const rounded = `training.${precision}: values are rounded to ${format} where PyTorch's ` +
    "autocast rounds them";
  const tiles = precision === "fp16" && adapterInfo?.isFallback === false &&
    adapterInfo.features.includes("shader-f16");
  return tiles
    ? `${rounded}; large products read them as float16 (shader-f16) and add up in float32, the ` +
      "rest is float32, in less memory"
    : `${rounded}; the arithmetic in between is float32 on ${name}, so that it takes longer than ` +
      "float32, though less memory";
}
