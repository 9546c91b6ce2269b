/**
 * A model's weights in a folder: one safetensors file, or shards with an index.
 *
 * @module
 */

import { writeTextAtomically } from "../../atomic_write.ts";
import { elementCount } from "../../element_count.ts";
import {
  BYTES_PER_ELEMENT,
  type SafetensorsDtype,
  SafetensorsError,
  type TensorEntry,
} from "./header.ts";
import { type FloatTensor, type HostTensor, SafetensorsFile } from "./reader.ts";
import { type SafetensorsWriteOptions, type TensorToWrite, writeSafetensors } from "./writer.ts";

async function readIndex(path: string): Promise<Map<string, string>> {
  const fail = (what: string): never => {
    throw new SafetensorsError(`Cannot read ${path}: ${what}; get the file again`);
  };
  let index: unknown;
  try {
    index = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    fail(`it is not JSON (${error instanceof Error ? error.message : error})`);
  }
  const map = typeof index === "object" && index !== null && "weight_map" in index
    ? index.weight_map
    : null;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    return fail("it has no weight_map of tensor names to file names");
  }
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== "string" || !/^[^/\\]+\.safetensors$/.test(file)) {
      return fail(`tensor ${name}: ${JSON.stringify(file)} is not the name of a file beside it`);
    }
    files.set(name, file);
  }
  return files;
}

/**
 * The safetensors of a folder as if they were one file. The caller closes it, or declares it with
 * `using`.
 */
export class SafetensorsFolder implements Disposable {
  readonly #byName: Map<string, SafetensorsFile>;
  readonly #files: readonly SafetensorsFile[];

  private constructor(
    readonly path: string,
    files: readonly SafetensorsFile[],
    byName: Map<string, SafetensorsFile>,
  ) {
    this.#files = files;
    this.#byName = byName;
  }

  /**
   * Opens `STEM.safetensors`, else the shards that `STEM.safetensors.index.json` lists; or one
   * file by its path.
   *
   * @param path a folder, or a .safetensors file
   * @throws {SafetensorsError} if neither file exists, or a file is damaged
   */
  static async open(path: string, stem = "model"): Promise<SafetensorsFolder> {
    const single = path.endsWith(".safetensors") ? path : `${path}/${stem}.safetensors`;
    const index = `${single}.index.json`;
    const has = (file: string): Promise<boolean> => Deno.stat(file).then(() => true, () => false);
    if (await has(single) || !await has(index)) {
      if (!await has(single) && await has(`${path}/pytorch_model.bin`)) {
        throw new SafetensorsError(
          `Cannot read the weights in ${path}: they are a pickle (pytorch_model.bin), which runs ` +
            `code when read; convert them with Python's safetensors first`,
        );
      }
      if (!await has(single)) {
        throw new SafetensorsError(
          `Cannot read the weights in ${path}: it has neither ${stem}.safetensors nor ` +
            `${stem}.safetensors.index.json`,
        );
      }
      const file = SafetensorsFile.open(single);
      return new SafetensorsFolder(path, [file], new Map(file.names.map((name) => [name, file])));
    }
    const opened = new Map<string, SafetensorsFile>();
    const byName = new Map<string, SafetensorsFile>();
    try {
      for (const [name, fileName] of await readIndex(index)) {
        let file = opened.get(fileName);
        if (file === undefined) {
          file = SafetensorsFile.open(`${index.slice(0, index.lastIndexOf("/") + 1)}${fileName}`);
          opened.set(fileName, file);
        }
        file.entry(name);
        byName.set(name, file);
      }
    } catch (error) {
      for (const file of opened.values()) file.close();
      throw error;
    }
    return new SafetensorsFolder(path, [...opened.values()], byName);
  }

  /** Names of all tensors. */
  get names(): string[] {
    return [...this.#byName.keys()];
  }

  /** `__metadata__` of all files together. */
  get metadata(): Readonly<Record<string, string>> {
    return Object.assign({}, ...this.#files.map((file) => file.metadata));
  }

  /** Whether there is a tensor of this name. */
  has(name: string): boolean {
    return this.#byName.has(name);
  }

  #file(name: string): SafetensorsFile {
    const file = this.#byName.get(name) ?? this.#files[0];
    if (file === undefined) {
      throw new SafetensorsError(`Cannot read ${name} from ${this.path}: its index is empty`);
    }
    return file;
  }

  /**
   * Type, shape and place of a tensor.
   *
   * @throws {SafetensorsError} if there is none of that name
   */
  entry(name: string): TensorEntry {
    return this.#file(name).entry(name);
  }

  /**
   * A tensor of floats as float32.
   *
   * @throws {SafetensorsError} if there is none of that name, or it holds no floats
   */
  readFloats(name: string): FloatTensor {
    return this.#file(name).readFloats(name);
  }

  /**
   * A tensor, floats of any width as float32.
   *
   * @throws {SafetensorsError} if there is none of that name
   */
  read(name: string): HostTensor {
    return this.#file(name).read(name);
  }

  /**
   * The bytes of a tensor as they lie in the file.
   *
   * @throws {SafetensorsError} if there is none of that name
   */
  readRaw(name: string): { dtype: SafetensorsDtype; shape: number[]; bytes: Uint8Array } {
    return this.#file(name).readRaw(name);
  }

  /** Closes every file. */
  close(): void {
    for (const file of this.#files) file.close();
  }

  /** Closes every file. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Choices for weights in a folder. */
export interface FolderWriteOptions extends SafetensorsWriteOptions {
  /** File name without `.safetensors`; `model` by default. */
  stem?: string;
  /** Data bytes above which shards are made; 5 GB by default, as Transformers has it. */
  shardBytes?: number;
}

function storedBytes(tensor: TensorToWrite, options: SafetensorsWriteOptions): number {
  const { data, dtype, shape } = tensor;
  const width = dtype !== undefined
    ? BYTES_PER_ELEMENT[dtype]
    : typeof data === "function" || data instanceof Float32Array
    ? BYTES_PER_ELEMENT[options.dtype ?? "F32"]
    : data.BYTES_PER_ELEMENT;
  return elementCount(shape) * width;
}

/**
 * Writes weights into a folder: one file, or shards with an index if they are larger than
 * `shardBytes`. A tensor is never divided.
 *
 * @throws {SafetensorsError} if elements and shape or type disagree
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function writeSafetensorsFolder(
  folder: string,
  tensors: Iterable<TensorToWrite>,
  options: FolderWriteOptions = {},
): Promise<void> {
  const { stem = "model", shardBytes = 5e9 } = options;
  const shards: TensorToWrite[][] = [[]];
  let bytes = 0;
  let total = 0;
  for (const tensor of tensors) {
    const size = storedBytes(tensor, options);
    if (bytes > 0 && bytes + size > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += size;
    total += size;
  }
  if (shards.length === 1) {
    await writeSafetensors(`${folder}/${stem}.safetensors`, shards[0], options);
    return;
  }
  const number = (n: number): string => String(n).padStart(5, "0");
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(`${folder}/${file}`, shard, options);
    for (const { name } of shard) weightMap[name] = file;
  }
  const sorted = Object.fromEntries(Object.entries(weightMap).sort(([a], [b]) => a < b ? -1 : 1));
  const index = { metadata: { total_size: total }, weight_map: sorted };
  await writeTextAtomically(
    `${folder}/${stem}.safetensors.index.json`,
    JSON.stringify(index, null, 2) + "\n",
  );
}
