/**
 * Which columns of a parquet file can be read, and how pictures are counted without their bytes.
 *
 * @module
 */
import { type FileMetaData, parquetSchema, type SchemaTree } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { type Cell, isList, isStruct } from "../rows/row.ts";

/** Types that hyparquet does not read. */
const UNREADABLE_TYPES = ["INTERVAL", "BSON"];
/** Columns whose values are larger on average are not read just to see whether they are there. */
const LARGE_VALUE_BYTES = 4096;
/** Stands for bytes that were left out. */
const LEFT_OUT = new Uint8Array(0);

/** The columns that cannot be read, with the reason. */
export function unreadableColumns(metadata: FileMetaData): Map<string, string> {
  const reasons = new Map<string, string>();
  for (const column of parquetSchema(metadata).children) {
    for (const { element } of leavesOf(column)) {
      const type = element.converted_type;
      if (type !== undefined && UNREADABLE_TYPES.includes(type)) {
        reasons.set(column.element.name, `its type ${type} is not supported`);
      }
    }
  }
  for (const { columns } of metadata.row_groups) {
    for (const { meta_data } of columns) {
      const codec = meta_data?.codec;
      const known = codec === undefined || codec === "UNCOMPRESSED" || codec === "SNAPPY" ||
        codec in compressors;
      if (!known) {
        reasons.set(meta_data!.path_in_schema[0], `its compression ${codec} is not supported`);
      }
    }
  }
  return reasons;
}

function leavesOf(node: SchemaTree): SchemaTree[] {
  return node.children.length === 0 ? [node] : node.children.flatMap(leavesOf);
}

/** How some columns are read without the bytes of their pictures. */
export interface ShapePlan {
  /** The file without the leaves that are left out. */
  readonly metadata: FileMetaData;
  /** Columns of objects whose `bytes` are left out. */
  readonly objects: ReadonlySet<string>;
  /** Columns that are not read at all, since every row has a value, or none has. */
  readonly constant: ReadonlyMap<string, Cell>;
}

/**
 * Plans a read that leaves out the bytes of pictures: `bytes` of `{bytes, path}` objects, and large
 * plain columns whose statistics say that every row has a value.
 *
 * @param metadata the footer
 * @param columns columns of which only the number of pictures is needed
 */
export function shapePlan(metadata: FileMetaData, columns: readonly string[]): ShapePlan {
  const objects = new Set<string>();
  const constant = new Map<string, Cell>();
  for (const column of parquetSchema(metadata).children) {
    const { name } = column.element;
    if (!columns.includes(name)) continue;
    const leaves = leavesOf(column);
    const byteLeaves = leaves.filter((leaf) => leaf.path.at(-1) === "bytes");
    if (byteLeaves.length === 1 && leaves.length > 1) objects.add(name);
    else if (column.children.length === 0 && column.element.repetition_type !== "REPEATED") {
      const value = constantPresence(metadata, name);
      if (value !== undefined) constant.set(name, value);
    }
  }
  return { metadata: objects.size === 0 ? metadata : pruned(metadata, objects), objects, constant };
}

/** A value that stands for all of a plain column; undefined if it must be read. */
function constantPresence(metadata: FileMetaData, name: string): Cell | undefined {
  let values = 0, nulls = 0, bytes = 0;
  for (const { columns, num_rows } of metadata.row_groups) {
    if (Number(num_rows) === 0) continue;
    const chunk = columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === name)?.meta_data;
    const count = chunk?.statistics?.null_count;
    if (chunk?.type !== "BYTE_ARRAY" || count === undefined) return undefined;
    values += Number(chunk.num_values);
    nulls += Number(count);
    bytes += Number(chunk.total_uncompressed_size);
  }
  if (values > 0 && nulls === values) return null;
  return nulls === 0 && bytes > values * LARGE_VALUE_BYTES ? LEFT_OUT : undefined;
}

/** The file without the leaves `bytes` of some columns. */
function pruned(metadata: FileMetaData, columns: ReadonlySet<string>): FileMetaData {
  const isLeftOut = (path: readonly string[]) => columns.has(path[0]) && path.at(-1) === "bytes";
  const schema: FileMetaData["schema"] = [];
  const keep = (node: SchemaTree): boolean => {
    if (node.children.length === 0 && isLeftOut(node.path)) return false;
    const at = schema.push({ ...node.element }) - 1;
    const kept = node.children.filter(keep).length;
    if (node.children.length > 0) schema[at].num_children = kept;
    return true;
  };
  keep(parquetSchema(metadata));
  const row_groups = metadata.row_groups.map((group) => ({
    ...group,
    columns: group.columns.filter(({ meta_data }) => !isLeftOut(meta_data?.path_in_schema ?? [])),
  }));
  return { ...metadata, schema, row_groups };
}

/** A cell with empty bytes where they were left out. */
export function withLeftOutBytes(cell: Cell): Cell {
  if (isList(cell)) return cell.map(withLeftOutBytes);
  return isStruct(cell) ? { bytes: LEFT_OUT, ...cell } : cell;
}
