/**
 * Checked values of a parsed config.json of Transformers.
 *
 * @module
 */
import { ModelConfigError } from "../check_config.ts";

/** An object of config.json, whose values are checked when read. */
export class ConfigReader {
  /** @param source the file's name, for messages */
  constructor(
    readonly values: Readonly<Record<string, unknown>>,
    readonly source: string,
  ) {}

  /** Throws with the file's name before the reason. */
  fail(reason: string): never {
    throw new ModelConfigError(`Cannot use ${this.source}: ${reason}`);
  }

  /** An object inside, empty if it is absent. */
  object(key: string): ConfigReader {
    const value = this.values[key] ?? {};
    if (typeof value !== "object" || Array.isArray(value)) {
      this.fail(`${key} is ${JSON.stringify(value)}, want an object`);
    }
    return new ConfigReader({ ...value }, `${this.source} (${key})`);
  }

  /** A number above 0. */
  number(key: string, fallback: number): number {
    const value = this.values[key] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
      this.fail(`${key} is ${JSON.stringify(value)}, want a number above 0`);
    }
    return value;
  }

  /** A whole number above 0. */
  count(key: string, fallback: number): number {
    const value = this.number(key, fallback);
    if (!Number.isSafeInteger(value)) this.fail(`${key} is ${value}, want a whole number`);
    return value;
  }

  /** Three numbers. */
  triple(key: string, fallback: readonly number[]): readonly number[] {
    const value = this.values[key] ?? fallback;
    if (!Array.isArray(value) || value.length !== 3 || !value.every(Number.isFinite)) {
      this.fail(`${key} is ${JSON.stringify(value)}, want three numbers`);
    }
    return value;
  }

  /** True or false. */
  flag(key: string, fallback: boolean): boolean {
    const value = this.values[key] ?? fallback;
    if (typeof value !== "boolean") {
      this.fail(`${key} is ${JSON.stringify(value)}, want true or false`);
    }
    return value;
  }

  /** Throws unless the key is absent or has this value. */
  require(key: string, wanted: string | number | boolean): void {
    const value = this.values[key] ?? wanted;
    if (value !== wanted) {
      this.fail(
        `${key} is ${JSON.stringify(value)}; only ${JSON.stringify(wanted)} is supported`,
      );
    }
  }
}
