/** Reward functions and other untrusted modules, each in processes that can only compute. */
export * from "./types.ts";
export {
  RewardFailureError,
  RewardSandbox,
  type RewardSandboxOptions,
  weightedSum,
} from "./reward_sandbox.ts";
export type {
  EnvironmentPicture,
  EnvironmentReply,
  EnvironmentSpec,
  EnvironmentStart,
  EnvironmentTurn,
  PictureSize,
  ResetFunction,
  StepFunction,
} from "./environment/types.ts";
export { EnvironmentSandbox } from "./environment/environment_sandbox.ts";
export { RewardModuleError } from "./graph/module_graph.ts";
export { SandboxCallError, SandboxedFunctions } from "./sandboxed_functions.ts";
export { SandboxPermissionError } from "./host/child_command.ts";
export { BUILTIN_REWARDS } from "./graph/builtin_module.ts";
export { describeSystemWalls } from "./host/system_walls.ts";
