/**
 * The section `dataset.mixture` of the YAML: several data sets as one.
 *
 * @module
 */
import type { MixtureSection, MixtureSetSection, ResolvedConfig } from "../types/config_types.ts";
import { OURS } from "../sources.ts";
import { group, listOf, mapOf, nullable } from "../types/composite_types.ts";
import { boolean, integer, number, oneOf, text } from "../types/scalar_types.ts";
import { derived, type KeySpec, required, same, type Table } from "../types/value_type.ts";
import type { Finding } from "./finding.ts";

/** A key that takes the value of `dataset` if a set does not give it. */
function inherited<T>(
  type: KeySpec<T>["type"],
  from: string,
  meaning: string,
): KeySpec<T> {
  return {
    type,
    default: derived<T>(from, () => undefined as T),
    source: OURS,
    meaning,
  };
}

/** The keys of an entry of `dataset.mixture.datasets`. */
export const mixtureSetKeys: Table<MixtureSetSection> = {
  path: {
    type: text("a path or a Hub id"),
    default: required,
    source: "TRL `DatasetConfig`",
    meaning: "A data set, as `dataset.train_data_path`.",
  },
  name: inherited(listOf(text()), "the default one", "Its configurations, as `dataset.name`."),
  label: inherited(
    text(),
    "the last part of the path, and the configurations",
    "Its name in metrics: `eval_LABEL_loss`.",
  ),
  split: inherited(text(), "`dataset.train_split`", "The split to train on."),
  eval_path: inherited(
    nullable(text()),
    "`null`",
    "Where its evaluation rows are. `null`: a fifth of its training rows, as `dataset.split_by` says.",
  ),
  eval_split: inherited(text(), "`dataset.eval_split`", "The split to evaluate on."),
  weight: inherited(
    number({ above: 0 }),
    "none",
    "How often it is drawn; weights of all sets, in any unit, are `probabilities`.",
  ),
  max_samples: inherited(
    nullable(integer({ min: 1 })),
    "`dataset.max_samples`",
    "At most so many rows of each split.",
  ),
  rename_columns: inherited(mapOf(text()), "`dataset.rename_columns`", "Old to new column name."),
  preprocessing_fn: inherited(
    nullable(text()),
    "`dataset.preprocessing_fn`",
    "Its preprocessing module.",
  ),
  image_folder: inherited(
    nullable(text()),
    "`dataset.image_folder`",
    "The folder of its pictures.",
  ),
  split_turns: inherited(boolean(), "`dataset.split_turns`", "Each turn is an example of its own."),
};

/** The keys of `dataset.mixture`. */
export const mixtureKeys: Table<MixtureSection> = {
  datasets: {
    type: listOf(group(mixtureSetKeys, { filled: false })),
    default: derived<MixtureSetSection[]>("none", () => []),
    source: "TRL `DatasetMixtureConfig`",
    meaning:
      "The data sets. Evaluation measures each of them (`eval_LABEL_loss`) and all together.",
  },
  probabilities: {
    type: nullable(listOf(number({ min: 0 }))),
    default: same(null),
    source: "`datasets.interleave_datasets`",
    meaning:
      "How often each set is drawn, sum 1. `null`: by the sets' `weight`; without weights, one " +
      "row of each in turn.",
  },
  stopping_strategy: {
    type: oneOf(["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"]),
    default: same("first_exhausted" as const),
    source: "`datasets.interleave_datasets`",
    meaning: "When an epoch ends. `first_exhausted`: when one set has given its last row. " +
      "`all_exhausted`: when each has; a set that is used up begins again. " +
      "`all_exhausted_without_replacement`: when each row was taken once.",
  },
  seed: {
    type: integer({ min: 0 }),
    default: same(42),
    source: OURS,
    meaning: "Of the draws. The rows of an epoch are the same in each epoch; `training.seed` " +
      "shuffles them.",
  },
};

/** The name of a data set of a mixture in metrics. */
export function labelOf({ label, path, name }: MixtureSetSection): string {
  if (label !== undefined) return label;
  if (path === undefined) return ""; // a mistake, reported by the checks
  const last = path.replace(/[\\/]+$/, "").split(/[\\/]/).at(-1) ?? path;
  const short = last.split("@")[0].replace(/\.(parquet|jsonl?|ndjson|csv|tsv)(\.gz)?$/i, "");
  return [short, ...name ?? []].join("_").replace(/[^\w.-]+/g, "_");
}

/** The probabilities of the sets; null: one row of each in turn. */
export function probabilitiesOf({ datasets, probabilities }: MixtureSection): number[] | null {
  if (probabilities !== null) return probabilities;
  const weights = datasets.flatMap(({ weight }) => weight === undefined ? [] : [weight]);
  if (weights.length === 0) return null;
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** What `dataset.train_data_path` says if there is a mixture; null: there is none. */
export function mixtureTitle({ dataset }: ResolvedConfig): string | null {
  const { datasets } = dataset.mixture;
  return datasets.length === 0 ? null : `mixture of ${datasets.map(labelOf).join(", ")}`;
}

/** Mistakes of a mixture that need more than one key. */
export function mixtureProblems(config: ResolvedConfig): Finding[] {
  const { dataset } = config;
  const { datasets, probabilities } = dataset.mixture;
  if (datasets.length === 0) return [];
  const problems: Finding[] = [];
  const at = (key: string, text: string) => problems.push({ key: `dataset.mixture.${key}`, text });
  if (dataset.train_data_path !== mixtureTitle(config)) {
    at("datasets", "excludes dataset.train_data_path; remove one of them");
  }
  const pathless = datasets.findIndex(({ path }) => path === undefined);
  if (pathless >= 0) at("datasets", `entry ${pathless + 1} has no path; want a path or a Hub id`);
  const labels = datasets.filter(({ path }) => path !== undefined).map(labelOf);
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (twice !== undefined) {
    at("datasets", `two data sets are called ${twice}; give each its own label`);
  }
  const odd = labels.find((label) => !/^[\w.-]+$/.test(label));
  if (odd !== undefined) {
    at("datasets", `label ${JSON.stringify(odd)}: want letters, digits, _, . and -`);
  }
  const weighted = datasets.filter(({ weight }) => weight !== undefined).length;
  if (weighted > 0 && weighted < datasets.length) {
    at("datasets", `${weighted} of ${datasets.length} data sets have a weight; want all or none`);
  }
  if (probabilities !== null) {
    const sum = probabilities.reduce((total, one) => total + one, 0);
    if (weighted > 0) at("probabilities", "excludes the weight of data sets; remove one of them");
    if (probabilities.length !== datasets.length) {
      at(
        "probabilities",
        `got ${probabilities.length}, want one for each of the ${datasets.length} data sets`,
      );
    } else if (Math.abs(sum - 1) > 1e-6) {
      at("probabilities", `got a sum of ${sum}, want 1; weight takes numbers of any sum`);
    } else if (probabilities.includes(0)) {
      at("probabilities", "got 0, want numbers above 0: remove the data set");
    }
  }
  if (dataset.eval_data_path !== null && datasets.some(({ eval_path }) => eval_path != null)) {
    at("datasets", "eval_path excludes dataset.eval_data_path; remove one of them");
  }
  return problems;
}
