/**
 * Whether a run may keep what the vision encoder gives for a picture.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import { PictureFeatures } from "../../model/picture_features.ts";
import type { VLM } from "../../model/vlm.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";

const MEBIBYTE = 2 ** 20;

/** Features that a run keeps, and what it says of them. */
export interface KeptFeatures {
  /** For metrics.jsonl, since the last call. */
  metrics(): Record<string, number>;
  /** Lets go of the features; the model computes its own again. */
  dispose(): void;
}

/**
 * Makes a model keep its pictures' features for the length of a run, if neither a weight nor an
 * adapter of the vision encoder trains. If the projector is frozen as well, what it gives is kept,
 * which is smaller.
 *
 * @param groups what trains
 * @param training how much is kept; with 0 the pictures are encoded each time, to the same bits
 * @returns null if the vision encoder trains
 */
export function keepPictureFeatures(
  model: VLM,
  groups: readonly ParameterGroup[],
  training: Pick<
    TrainingSection,
    "image_feature_cache_mb" | "image_feature_disk_mb" | "output_dir"
  >,
): KeptFeatures | null {
  const changing = [
    ...groups.flatMap(({ parameters }) => [...parameters.keys()]),
    // The reference of a run under LoRA leaves its adapters out.
    ...model.adapters.keys(),
  ];
  const changes = (part: string) => changing.some((name) => name.startsWith(part));
  if (changes("vision_encoder.")) return null;
  const projects = !changes("MP.");
  const features = new PictureFeatures({
    encode: (images) => projects ? model.encodeImages(images) : model.imageFeatures(images),
    side: model.config.vit_img_size,
    memoryBytes: training.image_feature_cache_mb * MEBIBYTE,
    diskBytes: training.image_feature_disk_mb * MEBIBYTE,
    folder: training.output_dir,
  });
  model.pictureFeatures = features;
  let reusedBefore = 0, computedBefore = 0;
  return {
    metrics() {
      const { reused, computed, memoryBytes, diskBytes } = features.counts;
      const used = reused - reusedBefore, made = computed - computedBefore;
      [reusedBefore, computedBefore] = [reused, computed];
      if (used + made === 0) return {};
      return {
        "image_features/reused_share": used / (used + made),
        "image_features/memory_bytes": memoryBytes,
        ...(diskBytes > 0 ? { "image_features/disk_bytes": diskBytes } : {}),
      };
    },
    dispose() {
      if (model.pictureFeatures === features) model.pictureFeatures = null;
      features.dispose();
    },
  };
}
