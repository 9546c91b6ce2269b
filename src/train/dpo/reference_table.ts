/**
 * The reference's log-probabilities of a data set, computed once and kept on disk: a resumed run
 * reads them, and no second model is held while training.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { writeTextAtomically } from "../../atomic_write.ts";
import { readWeight, weightNames } from "../../model/model_weights.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { DPOPair, PairLogProbs } from "./examples.ts";
import type { ReferenceTable } from "./reference.ts";

/** What the file holds. */
interface TableFile {
  readonly fingerprint: string;
  /** Row, log-probability of the chosen and of the rejected answer. */
  readonly rows: readonly (readonly [row: number, chosen: number, rejected: number])[];
}

/** How a table is filled. */
export interface FillTableOptions {
  /** The file that keeps it. */
  readonly path: string;
  /** Of model, data and settings; a file with another one is not used. */
  readonly fingerprint: string;
  /** Pairs that the table must have, each with a row. */
  readonly pairs: AsyncIterable<DPOPair>;
  readonly batchSize: number;
  /** The reference's log-probabilities of a batch. */
  readonly logProbs: (pairs: readonly DPOPair[]) => Promise<PairLogProbs>;
  /** Aborted by Ctrl-C: keeps what is there and stops. */
  readonly signal?: AbortSignal;
  /** Called with the pairs computed so far. */
  readonly onProgress?: (done: number) => void;
}

/**
 * A name for the reference: SHA-256 of its weights, its data, and the settings that turn the data into
 * inputs.
 *
 * @param model the reference
 * @param tokenizer writes prompts and answers
 * @param settings everything else that the numbers depend on: the data's fingerprint, the longest sequence
 */
export async function referenceFingerprint(
  model: VisionLanguageModel,
  tokenizer: Tokenizer,
  settings: Readonly<Record<string, unknown>>,
): Promise<string> {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([settings, model.config, tokenizer.files]));
  for (const name of weightNames(model)) {
    const values = await readWeight(model, name);
    hash.update(`\n${name} ${values.length}\n`);
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest("hex");
}

async function readTable(
  path: string,
  fingerprint: string,
): Promise<Map<number, readonly [number, number]>> {
  try {
    const file: TableFile = JSON.parse(await Deno.readTextFile(path));
    if (file.fingerprint !== fingerprint) return new Map();
    return new Map(file.rows.map(([row, chosen, rejected]) => [row, [chosen, rejected]]));
  } catch (error) {
    // A file that is not there or was cut off is computed again.
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return new Map();
    throw error;
  }
}

/**
 * Reads the table of a run, computes what is missing, and keeps it.
 *
 * @throws {Error} if the reference gives a number that is not finite
 */
export async function fillReferenceTable(options: FillTableOptions): Promise<ReferenceTable> {
  const { path, fingerprint, batchSize, signal, onProgress } = options;
  const table = await readTable(path, fingerprint);
  const known = table.size;
  let batch: DPOPair[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    const { chosen, rejected } = await options.logProbs(batch);
    batch.forEach(({ row }, i) => {
      if (!Number.isFinite(chosen[i]) || !Number.isFinite(rejected[i])) {
        throw new Error(
          `Cannot use the reference model: row ${row} has log-probabilities ${
            chosen[i]
          } (chosen) ` +
            `and ${rejected[i]} (rejected); want finite numbers. Are its weights whole?`,
        );
      }
      table.set(row!, [chosen[i], rejected[i]]);
    });
    batch = [];
    onProgress?.(table.size - known);
  };
  for await (const pair of options.pairs) {
    if (signal?.aborted) break;
    if (pair.row === null) throw new Error("Cannot keep log-probabilities of a row without number");
    if (table.has(pair.row)) continue;
    batch.push(pair);
    if (batch.length === batchSize) await flush();
  }
  await flush();
  if (table.size > known) {
    const rows = [...table].map(([row, [chosen, rejected]]) => [row, chosen, rejected] as const);
    const file: TableFile = { fingerprint, rows };
    await Deno.mkdir(dirname(path), { recursive: true });
    await writeTextAtomically(path, JSON.stringify(file));
  }
  return table;
}
