/**
 * The section `dataset.augmentation` of the YAML.
 *
 * @module
 */
import type { AugmentationSection, ResolvedConfig } from "../../types/config_types.ts";
import { OURS } from "../../sources.ts";
import { nullable } from "../../types/composite_types.ts";
import { integer, number } from "../../types/scalar_types.ts";
import { same, type Table } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";

/** The keys of `dataset.augmentation`. */
export const augmentationKeys: Table<AugmentationSection> = {
  crop: {
    type: number({ min: 0, max: 0.5 }),
    default: same(0),
    source: OURS,
    meaning: "Largest share of each side that a crop leaves out; the rest is resized to the " +
      "picture's size, so that a row keeps its image tokens.",
  },
  flip: {
    type: number({ min: 0, max: 1 }),
    default: same(0),
    source: OURS,
    meaning: "Probability of a mirror image; never if a text of the row says left, right or " +
      "clockwise (in English). Leave it at 0 for pictures with writing in them.",
  },
  rotate: {
    type: number({ min: 0, max: 45 }),
    default: same(0),
    source: OURS,
    meaning: "Largest rotation to either side, degrees.",
  },
  colour: {
    type: number({ min: 0, max: 0.9 }),
    default: same(0),
    source: OURS,
    meaning: "Largest relative change of brightness, of contrast and of saturation.",
  },
  blur: {
    type: number({ min: 0, max: 10 }),
    default: same(0),
    source: OURS,
    meaning: "Largest standard deviation of a Gaussian blur, pixels of the file.",
  },
  jpeg_quality: {
    type: nullable(integer({ min: 5, max: 95 })),
    default: same(null),
    source: OURS,
    meaning: "Pictures are written as JPEG and read again, with a quality from this one to 95. " +
      "`null`: they are not.",
  },
};

/** SFT alone changes pictures and weighs rows. */
export function sftDataProblems({ training_type, dataset }: ResolvedConfig): Finding[] {
  if (training_type === "sft") return [];
  const { jpeg_quality, ...shares } = dataset.augmentation;
  const problems: Finding[] = [];
  if (jpeg_quality !== null || Object.values(shares).some((share) => share > 0)) {
    const text = "changes the pictures of SFT alone; remove it";
    problems.push({ key: "dataset.augmentation", text });
  }
  if (dataset.weight_column !== null) {
    const text = "weighs the rows of SFT alone; remove it";
    problems.push({ key: "dataset.weight_column", text });
  }
  return problems;
}
