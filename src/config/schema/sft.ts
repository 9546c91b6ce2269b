/**
 * The section `sft` of the YAML.
 *
 * @module
 */
import type { SFTSection } from "../types/config_types.ts";
import { TRL_SFT } from "../sources.ts";
import { orDefault } from "../types/composite_types.ts";
import { oneOf } from "../types/scalar_types.ts";
import { same, type Table } from "../types/value_type.ts";

/** Every value of `sft.loss_type`. */
export const SFT_LOSS_TYPES = ["nll", "dft"] as const;

/** The keys of `sft`. */
export const sftKeys: Table<SFTSection> = {
  loss_type: {
    // TRL's chunked_nll has the value of nll; logits are computed in chunks here in any case.
    type: orDefault(oneOf(SFT_LOSS_TYPES, new Map([["chunked_nll", "nll"]]))),
    default: same("nll" as const),
    source: TRL_SFT,
    meaning: "`nll`: cross entropy. `dft`: Dynamic Fine-Tuning, each token weighed by its " +
      "probability, held constant. TRL's `chunked_nll` is `nll`.",
  },
};
