import { createReadStream } from "node:fs";
import { type CsvError, parse } from "csv-parse";
import { DataError } from "../data_error.ts";
import { fileSize } from "./local_file.ts";
import type { DataFolder, Row } from "../rows/row.ts";
import { checkUtf8 } from "./utf8.ts";
import { type ReadRecords, type TextMark, type TextRecord, TextSource } from "./text_source.ts";

/** The name that pandas gives to an index column, whose header is empty. */
const INDEX_COLUMN = "Unnamed: 0";

/**
 * Opens a `.csv` or `.tsv` file: RFC 4180, commas or tabs, UTF-8, the column names in its first
 * line. Values are texts; an empty one is null. A first column without a name is pandas' index.
 *
 * @throws {DataError} if it is missing, empty, or a line has another number of columns
 */
export async function openCsv(path: string, folder?: DataFolder): Promise<TextSource> {
  const size = await fileSize(path);
  if (size === 0) throw new DataError(`Cannot read ${path}: the file is empty`);
  await checkUtf8(path);
  let header: { names: string[]; next: TextMark } | null = null;
  for await (const record of csvRecords(path, { offset: 0, line: 1 }, size)) {
    header = { names: record.values, next: record.next };
    break;
  }
  if (header === null) throw new DataError(`Cannot read ${path}: it has no rows`);
  const names = header.names.map((name) => name.trim());
  if (names[0] === "" && names.length > 1) names[0] = INDEX_COLUMN;
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined || names.includes("")) {
    throw new DataError(
      `Cannot read ${path}: its first line must name every column once, got ${names.join(", ")}`,
    );
  }
  const readRecords: ReadRecords = async function* (
    file: string,
    from: TextMark,
    endOffset: number,
  ): AsyncGenerator<TextRecord> {
    for await (const record of csvRecords(file, from, endOffset)) {
      if (record.values.length !== names.length) {
        throw new DataError(
          `Cannot read ${file} line ${record.line}: it has ${record.values.length} values, ` +
            `want ${names.length} (${names.join(", ")})`,
        );
      }
      const row: Row = Object.fromEntries(
        names.map((name, i) => [name, record.values[i] === "" ? null : record.values[i]]),
      );
      yield { line: record.line, next: record.next, row: () => row };
    }
  };
  return await TextSource.open(path, header.next, readRecords, names, folder);
}

interface CsvRecord {
  readonly values: string[];
  readonly line: number;
  readonly next: TextMark;
}

/** The records between two places; quoted values may hold newlines. */
async function* csvRecords(
  path: string,
  from: TextMark,
  endOffset: number,
): AsyncGenerator<CsvRecord> {
  if (from.offset >= endOffset) return;
  const stream = createReadStream(path, { start: from.offset, end: endOffset - 1 });
  const parser = stream.pipe(
    parse({
      bom: from.offset === 0,
      delimiter: path.toLowerCase().endsWith(".tsv") ? "\t" : ",",
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
    }),
  );
  stream.on("error", (error) => parser.destroy(error));
  try {
    for await (const entry of parser) {
      const { record, info } = entry as {
        record: string[];
        info: { bytes: number; lines: number };
      };
      const inner = record.reduce((sum, value) => sum + value.split("\n").length - 1, 0);
      yield {
        values: record,
        line: from.line + info.lines - 1 - inner,
        next: { offset: from.offset + info.bytes, line: from.line + info.lines },
      };
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    const at = (error as CsvError & { lines?: number }).lines;
    throw new DataError(
      `Cannot read ${path}${at === undefined ? "" : ` line ${from.line + at - 1}`}: ${
        error instanceof Error ? error.message : String(error)
      }`,
      { cause: error },
    );
  } finally {
    stream.destroy();
    parser.destroy();
  }
}
