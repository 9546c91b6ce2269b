/**
 * What an optimizer takes of memory.
 *
 * @module
 */
import type { ActiveBackend } from "../../device/backend.ts";
import { stateBytes } from "../../ops/updates/state_array.ts";
import type { Parameters } from "../loop/gradients.ts";
import { makeRule } from "../optimizer/rules/make_rule.ts";
import type { OptimizerOptions } from "../optimizer/update_rule.ts";
import type { StepMemoryOptions } from "./memory_estimate.ts";

/**
 * Bytes of the optimizer's state, and of what its largest update holds beside it.
 *
 * @param parameters what trains
 * @param options which optimizer
 */
export function optimizerBytes(
  parameters: Parameters,
  options: OptimizerOptions,
  backend: ActiveBackend["name"],
): Required<Pick<StepMemoryOptions, "stateBytes" | "updateBytes">> {
  const rule = makeRule(options);
  let state = 0, update = 0;
  for (const [name, { shape }] of parameters) {
    for (const spec of Object.values(rule.stateOf(name, shape))) state += stateBytes(spec);
    update = Math.max(update, 4 * (rule.temporaryFloats?.(name, shape, backend) ?? 0));
  }
  return { stateBytes: state, updateBytes: update };
}
