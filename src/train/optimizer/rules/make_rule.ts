/**
 * The optimizer of a name.
 *
 * @module
 */
import { filledArguments } from "../../../config/schema/optimizer/optimizer_names.ts";
import type { OptimizerOptions, UpdateRule } from "../update_rule.ts";
import { type AdafactorArguments, adafactorRule } from "./adafactor_rule.ts";
import { adamWRule } from "./adamw_rule.ts";
import { adamW8BitRule, type EightBitArguments, lion8BitRule } from "./eight_bit_rules.ts";
import { lionRule } from "./lion_rule.ts";
import { type MuonArguments, muonRule } from "./muon_rule.ts";
import { type ScheduleFreeArguments, ScheduleFreeRule } from "./schedule_free_rule.ts";

/** Makes the rule of `options.name`, with its arguments filled in. */
export function makeRule(options: OptimizerOptions): UpdateRule {
  const { name = "adamw_torch" } = options;
  // The schema has checked names and types.
  const given: unknown = filledArguments(name, options.arguments ?? {});
  switch (name) {
    case "adamw_torch":
      return adamWRule(options);
    case "adamw_bnb_8bit":
      return adamW8BitRule(options, given as EightBitArguments);
    case "lion_32bit":
      return lionRule(options);
    case "lion_8bit":
      return lion8BitRule(options, given as EightBitArguments);
    case "adafactor":
      return adafactorRule(given as AdafactorArguments);
    case "schedule_free_adamw":
      return new ScheduleFreeRule(options, given as ScheduleFreeArguments);
    case "muon":
      return muonRule(options, given as MuonArguments);
  }
}
