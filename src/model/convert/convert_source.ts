/**
 * Reads the folder of a Transformers backbone: checked values of its config.json, and tensors by
 * name with the shape that the config implies.
 *
 * @module
 */

import type { FloatTensor } from "../safetensors/safetensors.ts";
import { SafetensorsFolder } from "../safetensors/folder.ts";

/** A Transformers folder that cannot be converted. */
export class ConvertError extends Error {
  override name = "ConvertError";
}

/** A parsed config.json of Transformers, whose values are checked when read. */
export class BackboneConfig {
  constructor(
    readonly path: string,
    readonly values: Readonly<Record<string, unknown>>,
  ) {}

  /**
   * Reads `config.json` of a folder.
   *
   * @throws {ConvertError} if it is missing or no JSON object
   */
  static async read(folder: string): Promise<BackboneConfig> {
    const path = `${folder}/config.json`;
    let value: unknown;
    try {
      value = JSON.parse(await Deno.readTextFile(path));
    } catch (error) {
      const reason = error instanceof Deno.errors.NotFound
        ? "there is no such file; want a model folder of Transformers"
        : error instanceof Error
        ? error.message
        : String(error);
      throw new ConvertError(`Cannot read ${path}: ${reason}`, { cause: error });
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ConvertError(`Cannot read ${path}: it holds no JSON object`);
    }
    return new BackboneConfig(path, { ...value });
  }

  /** Throws with the file's name before the reason. */
  fail(reason: string): never {
    throw new ConvertError(`Cannot convert ${this.path}: ${reason}`);
  }

  /** An object inside, or null if it is missing. */
  object(key: string): BackboneConfig | null {
    const value = this.values[key];
    if (value === undefined || value === null) return null;
    if (typeof value !== "object" || Array.isArray(value)) {
      this.fail(`${key} is ${JSON.stringify(value)}, want an object`);
    }
    return new BackboneConfig(`${this.path} (${key})`, { ...value });
  }

  /** A finite number. */
  number(key: string, fallback?: number): number {
    const value = this.values[key] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) {
      this.fail(`${key} is ${JSON.stringify(value)}, want a number`);
    }
    return value;
  }

  /** A whole number above 0. */
  count(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!Number.isSafeInteger(value) || value < 1) {
      this.fail(`${key} is ${value}, want an integer above 0`);
    }
    return value;
  }

  /** Throws unless the key is absent or has this value. */
  require(key: string, wanted: unknown, why: string): void {
    const value = this.values[key] ?? wanted;
    if (value !== wanted) {
      this.fail(`${key} is ${JSON.stringify(value)}, nanoVLM has only ${wanted}: ${why}`);
    }
  }
}

/** The tensors of a backbone, with or without the prefix of the class that saved them. */
export class BackboneTensors implements Disposable {
  readonly #prefix: string;

  private constructor(readonly folder: SafetensorsFolder, prefix: string) {
    this.#prefix = prefix;
  }

  /**
   * Opens a folder.
   *
   * @param prefix for example `model.`; used if any tensor name starts with it
   * @throws {SafetensorsError} if a file is missing or damaged
   */
  static async open(path: string, prefix: string): Promise<BackboneTensors> {
    const folder = await SafetensorsFolder.open(path);
    const hasPrefix = folder.names.some((name) => name.startsWith(prefix));
    return new BackboneTensors(folder, hasPrefix ? prefix : "");
  }

  /** Name in the file; `absolute` ones take no prefix. */
  fileName(name: string, absolute = false): string {
    return absolute ? name : this.#prefix + name;
  }

  /** Whether the tensor exists. */
  has(name: string, absolute = false): boolean {
    return this.folder.has(this.fileName(name, absolute));
  }

  /** Names, without the prefix, of all tensors below it. */
  get names(): string[] {
    return this.folder.names
      .filter((name) => name.startsWith(this.#prefix))
      .map((name) => name.slice(this.#prefix.length));
  }

  /**
   * Checks that a tensor exists and has this shape.
   *
   * @throws {ConvertError} if it is not
   */
  check(name: string, shape: readonly number[], absolute = false): void {
    const full = this.fileName(name, absolute);
    if (!this.folder.has(full)) {
      throw new ConvertError(
        `Cannot convert ${this.folder.path}: it has no tensor ${full}; ` +
          `its first ones are ${this.folder.names.slice(0, 3).join(", ")}`,
      );
    }
    const got = this.folder.entry(full).shape;
    if (String(got) !== String(shape)) {
      throw new ConvertError(
        `Cannot convert ${this.folder.path}: ${full} is [${got}], its config.json wants [${shape}]`,
      );
    }
  }

  /** Reads one as float32. */
  read(name: string, absolute = false): FloatTensor {
    return this.folder.readFloats(this.fileName(name, absolute));
  }

  /** Closes the files. */
  close(): void {
    this.folder.close();
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A part of a nanoVLM made from a backbone: what it sets in the config, and its tensors. */
export interface ConvertedPart<Config> extends Disposable {
  /** The config keys that the backbone decides. */
  config: Config;
  /** One of the part's tensors by nanoVLM's name, float32. */
  read(name: string): FloatTensor;
}
