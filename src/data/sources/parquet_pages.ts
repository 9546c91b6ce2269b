import { type FileMetaData, parquetSchema } from "hyparquet";
import { parquetHeader } from "hyparquet-pages";

/** A run of pages of one column in one row group. */
interface Chunk {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly values: number;
}

/**
 * Checks the lengths in a parquet file before hyparquet uses them: lengths that are missing
 * or beyond the file would make it loop forever or allocate all memory.
 */
export class ParquetPages {
  readonly #chunks: Chunk[];
  readonly #checked = new Set<Chunk>();

  /**
   * @param metadata the footer
   * @param byteLength of the file
   * @throws {Error} if a column lies outside the file
   */
  constructor(metadata: FileMetaData, byteLength: number) {
    const schema = parquetSchema(metadata);
    this.#chunks = metadata.row_groups.flatMap((group, i) =>
      // Writers leave offsets of 0 in a row group without rows.
      Number(group.num_rows) === 0 ? [] : group.columns.map(({ meta_data: column, file_path }) => {
        if (column === undefined) throw new Error(`row group ${i} has a column without metadata`);
        const name = `column ${column.path_in_schema.join(".")} of row group ${i}`;
        if (!isLeaf(schema, column.path_in_schema)) {
          throw new Error(`${name} is not in the schema`);
        }
        if (file_path !== undefined) throw new Error(`${name} lies in another file, ${file_path}`);
        const start = Number(column.dictionary_page_offset ?? column.data_page_offset);
        const size = Number(column.total_compressed_size);
        if (!(start >= 4 && size >= 0 && start + size <= byteLength)) {
          throw new Error(`${name} has ${size} bytes at ${start}`);
        }
        return { name, start, end: start + size, values: Number(column.num_values) };
      })
    );
  }

  /**
   * Checks the page headers of the columns within some bytes of the file.
   *
   * @param buffer bytes of the file
   * @param offset where in the file they start
   * @throws {Error} if a header is not valid
   */
  check(buffer: ArrayBuffer, offset: number): void {
    for (const chunk of this.#chunks) {
      const isWithin = chunk.start >= offset && chunk.end <= offset + buffer.byteLength;
      if (!isWithin || this.#checked.has(chunk)) continue;
      const view = new DataView(buffer, chunk.start - offset, chunk.end - chunk.start);
      checkPages(chunk, view);
      this.#checked.add(chunk);
    }
  }
}

function isLeaf(schema: ReturnType<typeof parquetSchema>, path: readonly string[]): boolean {
  let node: typeof schema | undefined = schema;
  for (const name of path) node = node?.children.find((child) => child.element.name === name);
  return path.length > 0 && node !== undefined && node.children.length === 0;
}

function checkPages(chunk: Chunk, view: DataView): void {
  const reader = { view, offset: 0 };
  let values = 0;
  while (values < chunk.values && reader.offset < view.byteLength - 1) {
    const at = reader.offset;
    const header = parquetHeader(reader);
    const { data_page_header: v1, data_page_header_v2: v2, dictionary_page_header } = header;
    const counts = [header.compressed_page_size, header.uncompressed_page_size];
    if (v1 !== undefined) counts.push(v1.num_values);
    if (dictionary_page_header !== undefined) counts.push(dictionary_page_header.num_values);
    if (v2 !== undefined) {
      counts.push(v2.num_values, v2.num_rows, v2.num_values - v2.num_nulls);
      counts.push(v2.definition_levels_byte_length, v2.repetition_levels_byte_length);
    }
    const here = v1?.num_values ?? v2?.num_values ?? 0;
    const fits = reader.offset + header.compressed_page_size <= view.byteLength;
    if (!counts.every((count) => Number.isInteger(count) && count >= 0) || !fits) {
      throw new Error(
        `${chunk.name} has a page at ${chunk.start + at} whose header is not valid`,
      );
    }
    values += here;
    if (values > chunk.values) throw new Error(`${chunk.name} has more values than it says`);
    reader.offset += header.compressed_page_size;
  }
}
