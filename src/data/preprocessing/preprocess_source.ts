import { transformRowwise } from "../sources/mapped_source.ts";
import type { PlacedRow } from "../rows/row.ts";
import type { RowSource } from "../sources/row_source.ts";
import { RowStore } from "../rows/row_store.ts";
import { BUILTIN_PREFIX, BUILTIN_PREPROCESSING, builtinTransform } from "./builtin_transforms.ts";
import { PreprocessingModule, type PreprocessingOptions } from "./preprocessing_module.ts";

/** How to preprocess: `dataset.preprocessing_fn`, and what its module may do. */
export interface PreprocessOptions extends PreprocessingOptions {
  /** A path, a specifier, or `builtin:NAME`. */
  readonly module: string;
}

/** Rows after preprocessing, and what identifies the preprocessing. */
export interface PreprocessedSource {
  /** The rows. */
  readonly source: RowSource;
  /** Name and integrity of the module. */
  readonly identity: string;
}

/**
 * Preprocesses a source: all of it at once and stored for random access; a stream while
 * it is read.
 *
 * @throws {DataError} if the module cannot be loaded, fails, or does not return rows
 */
export async function preprocessSource(
  source: RowSource,
  options: PreprocessOptions,
  streaming: boolean,
): Promise<PreprocessedSource> {
  const { module: specifier } = options;
  if (specifier.startsWith(BUILTIN_PREFIX) || BUILTIN_PREPROCESSING.includes(specifier)) {
    const transformed = await transformRowwise(source, builtinTransform(specifier));
    return { source: transformed, identity: specifier };
  }
  await using module = await PreprocessingModule.start(specifier, options);
  const identity = `${specifier.split("/").at(-1)} ${module.integrity}`;
  if (streaming) {
    const first = await firstOf(module.apply(source.rows(0, 1)));
    const columns = first === null ? [] : Object.keys(first.row);
    return { source: streamed(source, columns, options), identity };
  }
  const store = new RowStore();
  for await (const placed of module.apply(source.rows(0, Infinity))) await store.append(placed);
  return { source: store.finish(source.name), identity };
}

/** Each pass over the stream has a process of its own. */
function streamed(
  source: RowSource,
  columns: readonly string[],
  options: PreprocessOptions,
): RowSource {
  return {
    name: source.name,
    columns,
    countRows: () => Promise.reject(new RangeError("A preprocessed stream has no known length")),
    get: () => Promise.reject(new RangeError("A preprocessed stream cannot be read at random")),
    async *rows(start, end) {
      await using module = await PreprocessingModule.start(options.module, options);
      let row = 0;
      for await (const placed of module.apply(source.rows(0, Infinity))) {
        if (row >= end) return;
        if (row++ >= start) yield placed;
      }
    },
  };
}

async function firstOf(rows: AsyncIterable<PlacedRow>): Promise<PlacedRow | null> {
  for await (const placed of rows) return placed;
  return null;
}
