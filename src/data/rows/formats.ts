/**
 * The formats of examples, by name.
 *
 * @module
 */
import type { DatasetFormat, ExampleOf, FormatReader } from "./format_reader.ts";
import { grpo } from "./grpo_format.ts";
import { preference } from "./preference_format.ts";
import { unpaired } from "./unpaired_format.ts";
import { vqa } from "./vqa_format.ts";

export type {
  DatasetFormat,
  EvaluatedFormat,
  ExampleOf,
  FormatReader,
  GrpoExample,
  PreferenceExample,
  RowContents,
  TextOf,
  UnpairedExample,
  VqaExample,
} from "./format_reader.ts";

const READERS: { readonly [F in DatasetFormat]: FormatReader<ExampleOf<F>> } = {
  vqa,
  preference,
  unpaired,
  grpo,
};

/** The reader of a format. */
export function formatReader<F extends DatasetFormat>(format: F): FormatReader<ExampleOf<F>> {
  return READERS[format];
}
