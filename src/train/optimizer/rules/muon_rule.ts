/**
 * Muon for hidden matrices, AdamW for everything else.
 *
 * @module
 */
import { elementCount } from "../../../element_count.ts";
import { muon, type MuonStep } from "../../../ops/updates/muon.ts";
import type { AdamWOptions, RuleUpdate, UpdateRule } from "../update_rule.ts";
import { adamWRule } from "./adamw_rule.ts";

/** Arguments of torch.optim.Muon. */
export interface MuonArguments {
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly ns_steps: number;
  readonly adjust_lr_fn: MuonStep["adjustment"];
}

/** Tables and the head: their rows are tokens and positions, not directions of a hidden space. */
const NOT_HIDDEN = /(?:^|\.)(?:token_embedding|position_embedding|cls_token|head)(?:\.|$)/;

/**
 * Whether Muon updates a parameter: the matrices of the blocks and of the projector, and those of
 * adapters on them.
 */
export function isHiddenMatrix(name: string, shape: readonly number[]): boolean {
  return shape.length === 2 && !NOT_HIDDEN.test(name);
}

/** torch.optim.Muon beside torch.optim.AdamW. */
export function muonRule(options: AdamWOptions, given: MuonArguments): UpdateRule {
  const adamW = adamWRule(options);
  const isHidden = ({ state }: RuleUpdate) => "momentum_buffer" in state;
  return {
    name: "muon",
    stateOf: (name, shape) =>
      isHiddenMatrix(name, shape)
        ? { momentum_buffer: { shape, dtype: "float32" } }
        : adamW.stateOf(name, shape),
    // Direction, X, its next value and three products of the shorter side.
    temporaryFloats: (name, shape) =>
      isHiddenMatrix(name, shape) ? 4 * elementCount(shape) + 3 * Math.min(...shape) ** 2 : 0,
    update: (updates) => {
      muon(
        updates.filter(isHidden).map(({ parameter, gradient, state, ...numbers }) => {
          const { learningRate, weightDecay, gradientScale } = numbers;
          return {
            parameter,
            gradient,
            momentum: state.momentum_buffer,
            numbers: {
              ...{ learningRate, weightDecay, gradientScale },
              momentum: given.momentum,
              nesterov: given.nesterov,
              iterations: given.ns_steps,
              adjustment: given.adjust_lr_fn,
            },
          };
        }),
      );
      adamW.update(updates.filter((update) => !isHidden(update)));
    },
  };
}
