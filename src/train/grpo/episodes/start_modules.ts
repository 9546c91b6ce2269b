/**
 * The foreign modules of a GRPO run: reward functions, and an environment if the config names one.
 *
 * @module
 */
import type { ResolvedConfig } from "../../../config/types/config_types.ts";
import { EnvironmentSandbox } from "../../../rewards/environment/environment_sandbox.ts";
import { CompletionScorer } from "../scoring.ts";

/** Modules that were started. */
export interface GRPOModules extends AsyncDisposable {
  readonly scorer: CompletionScorer;
  /** Null: a completion is one turn. */
  readonly environment: EnvironmentSandbox | null;
}

/** The environment of a config in its sandbox; null if it names none. */
async function startEnvironment(
  { grpo }: ResolvedConfig,
  log: ((line: string) => void) | undefined,
): Promise<EnvironmentSandbox | null> {
  if (grpo.environment === null) return null;
  const { timeout_ms, memory_mb, allow_net, allow_read, allow_env, processes, integrity } =
    grpo.environment_options;
  return await EnvironmentSandbox.start({
    module: grpo.environment,
    timeoutMs: timeout_ms,
    memoryMb: memory_mb,
    allowNet: allow_net,
    allowRead: allow_read,
    allowEnv: allow_env,
    processes,
    ...(integrity ? { integrity } : {}),
  }, { log });
}

/**
 * Starts the modules of a config.
 *
 * @param log gets what modules print and what is refused to them
 * @throws {RewardModuleError} if one cannot be used
 */
export async function startModules(
  config: ResolvedConfig,
  log?: (line: string) => void,
): Promise<GRPOModules> {
  const scorer = await CompletionScorer.start(config, log);
  try {
    const environment = await startEnvironment(config, log);
    return {
      scorer,
      environment,
      async [Symbol.asyncDispose]() {
        await Promise.all([scorer[Symbol.asyncDispose](), environment?.close()]);
      },
    };
  } catch (error) {
    await scorer[Symbol.asyncDispose]();
    throw error;
  }
}
