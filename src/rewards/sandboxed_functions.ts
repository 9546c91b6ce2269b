/** Sandboxed functions that return plain data and not only scores, for preprocessing. */
import { cleanText } from "../clean_text.ts";
import { RunAllowance } from "./host/answer_limits.ts";
import { ModuleLog } from "./host/printed_text.ts";
import { SandboxedModule } from "./host/sandboxed_module.ts";
import type { SandboxGrants } from "./types.ts";

/** Thrown if a sandboxed function fails, is late, or ends its process. */
export class SandboxCallError extends Error {
  override name = "SandboxCallError";
  /** Whether it was stopped because it exceeded its time limit. */
  readonly timedOut: boolean;
  /** What it tried and was refused, in words. */
  readonly refused: string[];

  /** A failed call with the refused attempts. */
  constructor(message: string, timedOut: boolean, refused: string[]) {
    super(cleanText(message));
    this.timedOut = timedOut;
    this.refused = refused;
  }
}

/**
 * Starts a module in its sandbox and calls its functions with plain data: null, undefined, booleans,
 * numbers, bigints, strings, dates, typed arrays, arrays and plain objects, in both directions.
 */
export class SandboxedFunctions implements AsyncDisposable {
  /** Exported functions, in the order of their definition in the source. */
  readonly names: readonly string[];
  /** `sha256-…` over the module's whole graph: equal bytes give equal functions. */
  readonly integrity: string;
  #module: SandboxedModule;
  #log: ModuleLog;
  readonly #allowance = new RunAllowance();

  private constructor(module: SandboxedModule, log: (line: string) => void) {
    this.#module = module;
    this.#log = new ModuleLog(log, "module");
    this.names = module.names;
    this.integrity = module.integrity;
    this.#log.tell(module.specifier, module.loading.printed, module.loading.refused);
  }

  /**
   * Checks a module's graph and starts it.
   *
   * @param module path, specifier or `builtin:` name
   * @param grants what it may do beyond computing; nothing by default
   * @throws {RewardModuleError} if it is refused, broken, or not what its integrity says
   */
  static async start(
    module: string,
    grants: SandboxGrants = {},
    options: { base?: string; log?: (line: string) => void } = {},
  ): Promise<SandboxedFunctions> {
    const started = await SandboxedModule.start(module, grants, { base: options.base });
    return new SandboxedFunctions(started, options.log ?? console.error);
  }

  /**
   * Calls an exported function with copies of `args` and returns a copy of its result.
   *
   * @throws {SandboxCallError} if it fails; the module can be called again
   * @throws {TypeError} for arguments that are not plain data
   */
  async call(
    name: string,
    args: unknown[],
    options: { timeoutMs?: number } = {},
  ): Promise<unknown> {
    const outcome = await this.#module.call(name, args, { timeoutMs: options.timeoutMs });
    const { value, timedOut, printed, refused } = outcome;
    const error = outcome.error ??
      this.#allowance.add(outcome.argumentBytes, outcome.answerBytes);
    this.#log.tell(name, printed, refused);
    if (error !== null) {
      throw new SandboxCallError(
        `${name} of ${this.#module.specifier} failed: ${error}`,
        timedOut,
        [
          ...refused,
        ],
      );
    }
    return value;
  }

  /** Ends its processes. */
  async close(): Promise<void> {
    await this.#module.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
