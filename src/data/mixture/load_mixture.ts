/**
 * Several data sets as one: each is loaded and split on its own, then their training rows are
 * interleaved and their evaluation rows stand one set after the other.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { DataError } from "../data_error.ts";
import { Dataset, type NamedSet } from "../dataset.ts";
import type { AnyDataset } from "../load_dataset.ts";
import type { DatasetFormat, ExampleOf } from "../rows/formats.ts";
import { JoinedSkippedRows } from "../rows/skipped_rows.ts";
import type { HeldOutPictures } from "../splits/picture_overlap.ts";
import {
  loadTrainAndEval,
  type SetShare,
  type TrainEvalDatasets,
  type TrainEvalOptions,
} from "../splits/train_eval.ts";
import { StreamingDataset } from "../streaming_dataset.ts";
import { type InterleaveOptions, interleavePlan } from "./interleave.ts";

/** A data set of a mixture, and how to load it. */
export interface MixtureSet<F extends DatasetFormat> {
  /** In messages, and in metrics: `eval_NAME_loss`. */
  readonly name: string;
  readonly options: TrainEvalOptions<F>;
}

/** Sets that were loaded. */
interface LoadedSet<F extends DatasetFormat> extends TrainEvalDatasets<F> {
  readonly name: string;
}

type SetOf<F extends DatasetFormat> = NamedSet<AnyDataset<F>>;

/**
 * Loads a mixture.
 *
 * @param sets one or more, all streamed or none
 * @param interleave how training rows are drawn
 * @param evaluation data to evaluate on in place of that of the sets; null: that of the sets
 * @throws {DataError} as `loadDataset`, with the name of the set
 */
export async function loadMixture<F extends DatasetFormat>(
  sets: readonly MixtureSet<F>[],
  interleave: InterleaveOptions,
  evaluation: AnyDataset<F> | null = null,
): Promise<TrainEvalDatasets<F>> {
  const loaded: LoadedSet<F>[] = [];
  for (const { name, options } of sets) {
    try {
      loaded.push({ ...await loadTrainAndEval(options), name });
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      throw new DataError(`${error.message} (data set ${name} of the mixture)`, { cause: error });
    }
  }
  const train = loaded.map(({ name, train }): SetOf<F> => ({ name, dataset: train }));
  const heldOut = loaded.flatMap(({ name, evaluation }): SetOf<F>[] =>
    evaluation === null ? [] : [{ name, dataset: evaluation }]
  );
  const skipped = new JoinedSkippedRows(
    [...train, ...heldOut].map(({ dataset }) => dataset.skipped),
  );
  const labels = { name: mixtureName(sets.map(({ name }) => name)), skipped };
  const mixed = mixTraining(train, interleave, {
    ...labels,
    fingerprint: fingerprintOf(train, interleave),
  });
  return {
    train: mixed.dataset,
    shares: mixed.shares,
    evaluation: evaluation ??
      (heldOut.length === 0 ? null : joined(heldOut, {
        ...labels,
        fingerprint: fingerprintOf(heldOut, null),
      })),
    heldOut: evaluation === null ? heldOutOf(loaded) : null,
    warnings: loaded.flatMap(({ warnings }) => warnings),
  };
}

/** What a mixture is called. */
export function mixtureName(names: readonly string[]): string {
  return `mixture of ${names.join(", ")}`;
}

interface Labels {
  readonly name: string;
  readonly skipped: JoinedSkippedRows;
  readonly fingerprint: string;
}

function mixTraining<F extends DatasetFormat>(
  sets: readonly SetOf<F>[],
  interleave: InterleaveOptions,
  labels: Labels,
): { dataset: AnyDataset<F>; shares: SetShare[] | null } {
  const atRandom = allAtRandom(sets);
  if (atRandom === null) {
    return { dataset: StreamingDataset.mix(streamsOf(sets), interleave, labels), shares: null };
  }
  const plan = interleavePlan(atRandom.map(({ dataset }) => dataset.rowCount), interleave);
  const counts = sets.map(() => 0);
  for (const set of plan.sets) counts[set]++;
  return {
    dataset: Dataset.mix(atRandom, plan, labels),
    shares: sets.map(({ name }, i) => ({
      name,
      rows: counts[i],
      share: counts[i] / plan.sets.length,
    })),
  };
}

/** The sets one after the other. */
function joined<F extends DatasetFormat>(
  sets: readonly SetOf<F>[],
  labels: Labels,
): AnyDataset<F> {
  const atRandom = allAtRandom(sets);
  if (atRandom === null) return StreamingDataset.mix(streamsOf(sets), null, labels);
  const numbers: number[] = [], draws: number[] = [];
  atRandom.forEach(({ dataset }, set) => {
    for (let row = 0; row < dataset.rowCount; row++) {
      numbers.push(set);
      draws.push(row);
    }
  });
  const plan = { sets: Uint16Array.from(numbers), draws: Uint32Array.from(draws) };
  return Dataset.mix(atRandom, plan, labels);
}

/** The sets, if none of them is a stream. */
function allAtRandom<F extends DatasetFormat>(
  sets: readonly SetOf<F>[],
): NamedSet<Dataset<ExampleOf<F>>>[] | null {
  const found = sets.flatMap(({ name, dataset }) =>
    dataset.streaming ? [] : [{ name, dataset: dataset as Dataset<ExampleOf<F>> }]
  );
  return found.length === sets.length ? found : null;
}

function streamsOf<F extends DatasetFormat>(
  sets: readonly SetOf<F>[],
): NamedSet<StreamingDataset<ExampleOf<F>>>[] {
  return sets.flatMap(({ name, dataset }) =>
    dataset.streaming ? [{ name, dataset: dataset as StreamingDataset<ExampleOf<F>> }] : []
  );
}

function fingerprintOf<F extends DatasetFormat>(
  sets: readonly SetOf<F>[],
  interleave: InterleaveOptions | null,
): string {
  const parts = sets.map(({ name, dataset }) => [name, dataset.fingerprint, dataset.length]);
  return createHash("sha256").update(JSON.stringify([parts, interleave])).digest("hex");
}

function heldOutOf<F extends DatasetFormat>(
  loaded: readonly LoadedSet<F>[],
): HeldOutPictures | null {
  let pictures = 0, inTraining = 0;
  for (const { heldOut } of loaded) {
    if (heldOut === null) return null;
    pictures += heldOut.pictures;
    inTraining += heldOut.inTraining;
  }
  return { pictures, inTraining };
}
