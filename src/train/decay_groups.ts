/**
 * Which tensors decay under DPO and GRPO: what Transformers' Trainer means to do, weights decay,
 * biases and norms do not.
 *
 * Its patterns miss nanoVLM's `norm1` and `norm2`, which therefore decay in NanoVLM-Lab; here they
 * are the norms that they are. (SFT decays every tensor, as NanoVLM-Lab's own optimizer does.)
 *
 * @module
 */
import type { ParameterGroup } from "./optimizer/optimizer.ts";

/** Norms by nanoVLM's names: `ln1`, `layer_norm`, `norm1`, `norm`. */
const NORM = /(?:^|[._])(?:ln|norm)\d*\.weight$/;

/** Whether AdamW's weight decay applies to a tensor. */
export function decays(name: string): boolean {
  return !name.endsWith(".bias") && !NORM.test(name);
}

/**
 * Splits each group into the tensors that decay and those that do not.
 *
 * @param groups as `parameterGroups()` makes them
 * @returns as many groups, or more: `NAME_no_decay` beside `NAME` where a group has both kinds
 */
export function splitByDecay(groups: readonly ParameterGroup[]): ParameterGroup[] {
  return groups.flatMap((group) => {
    if (group.weightDecay === 0) return [group];
    const part = (decaying: boolean) =>
      new Map([...group.parameters].filter(([name]) => decays(name) === decaying));
    return [
      { ...group, parameters: part(true) },
      { ...group, name: `${group.name}_no_decay`, weightDecay: 0, parameters: part(false) },
    ].filter(({ parameters }) => parameters.size > 0);
  });
}
