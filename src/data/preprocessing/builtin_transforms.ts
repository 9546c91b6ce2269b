import { nearestName } from "../../config/nearest.ts";
import { DataError } from "../data_error.ts";
import type { Row } from "../rows/row.ts";
import type { RowTransform } from "../rows/row_transform.ts";
import { keepRow } from "./dataset_preprocessing_dpo.ts";
import { problemToPrompt } from "./dataset_preprocessing_grpo.ts";
import { problemToTexts } from "./dataset_preprocessing_sft.ts";

const BUILTINS: Readonly<Record<string, (row: Row) => Row>> = {
  dataset_preprocessing_sft: problemToTexts,
  dataset_preprocessing_dpo: keepRow,
  dataset_preprocessing_grpo: problemToPrompt,
};

/** The prefix of their names in a config. */
export const BUILTIN_PREFIX = "builtin:";

/** The names of the built-in preprocessing modules, as a config writes them. */
export const BUILTIN_PREPROCESSING: readonly string[] = Object.keys(BUILTINS).map((name) =>
  BUILTIN_PREFIX + name
);

/**
 * A built-in preprocessing module: the replacements of NanoVLM-Lab's files.
 *
 * @param name with `builtin:` before it
 * @throws {DataError} if there is none of that name
 */
export function builtinTransform(name: string): RowTransform {
  const convert = BUILTINS[name.slice(BUILTIN_PREFIX.length)];
  if (!name.startsWith(BUILTIN_PREFIX) || convert === undefined) {
    const nearest = nearestName(name, BUILTIN_PREPROCESSING);
    throw new DataError(
      `Cannot preprocess with ${name}: there is no such built-in; want ${
        BUILTIN_PREPROCESSING.join(", ")
      }${nearest === undefined ? "" : ` (nearest: ${nearest})`}`,
    );
  }
  return {
    name,
    rowwise: true,
    apply: (rows) => Promise.resolve(rows.map(convert)),
  };
}
