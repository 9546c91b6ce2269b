/**
 * The keys of `training` that choose the optimizer.
 *
 * @module
 */
import type { ResolvedConfig, TrainingSection } from "../../types/config_types.ts";
import { nearestName } from "../../nearest.ts";
import { HF_ARGUMENTS } from "../../sources.ts";
import { either, mapOf, nullable } from "../../types/composite_types.ts";
import { boolean, number, oneOf, text } from "../../types/scalar_types.ts";
import { same, type Table, type ValueType } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";
import {
  OPTIMIZER_ARGUMENTS,
  OPTIMIZER_NAMES,
  OPTIMIZER_SYNONYMS,
  type OptimizerValue,
} from "./optimizer_names.ts";

const values = mapOf(either(number(), either(boolean(), text())));

/** A word of `key=value`. */
function valueOf(word: string): OptimizerValue {
  if (/^(true|false)$/i.test(word)) return word.toLowerCase() === "true";
  return word !== "" && Number.isFinite(Number(word)) ? Number(word) : word;
}

/** A mapping, or Transformers' text `key=value,key=value`. */
const optimizerArguments: ValueType<Record<string, OptimizerValue>> = {
  name: "a mapping of names to values, or a text key=value,key=value",
  anyKey: values.anyKey,
  read(node, key, problems) {
    if (node.kind !== "scalar" || typeof node.value !== "string") {
      return values.read(node, key, problems);
    }
    const pairs = node.value.replaceAll(" ", "").split(",").map((pair) => pair.split("="));
    if (pairs.some((pair) => pair.length !== 2 || pair.includes(""))) {
      const text = `got ${JSON.stringify(node.value)}, want ${this.name}`;
      problems.push({ ...node.position, key, text });
      return undefined;
    }
    return Object.fromEntries(pairs.map(([name, word]) => [name, valueOf(word)]));
  },
};

/** `training.optim`, `training.optim_args` and `training.neftune_noise_alpha`. */
export const optimizerKeys: Table<
  Pick<TrainingSection, "optim" | "optim_args" | "neftune_noise_alpha">
> = {
  optim: {
    type: oneOf(OPTIMIZER_NAMES, OPTIMIZER_SYNONYMS),
    default: same("adamw_torch" as const),
    source: `${HF_ARGUMENTS}; \`muon\` is torch.optim.Muon`,
    meaning: "The optimizer, by Transformers' name; docs/optimizers.md compares them. " +
      "`adamw_torch_fused`, `adamw_8bit`, `lion` and the `paged_` names are read as what they " +
      "compute.",
  },
  optim_args: {
    type: optimizerArguments,
    default: same({}),
    source: HF_ARGUMENTS,
    meaning: "The optimizer's own arguments, as a mapping or as `key=value,key=value`: " +
      OPTIMIZER_NAMES.flatMap((name) => {
        const keys = Object.keys(OPTIMIZER_ARGUMENTS[name]);
        return keys.length === 0 ? [] : `\`${name}\`: ${keys.join(", ")}`;
      }).join("; ") + ".",
  },
  neftune_noise_alpha: {
    type: nullable(number({ min: 0 })),
    default: same<number | null>(null),
    source: HF_ARGUMENTS,
    meaning:
      "SFT, DPO, KTO: uniform noise on the embeddings of text tokens while training, of ±alpha / " +
      "√(tokens of the row × channels) (NEFTune). The paper uses 5, 10 and 15. `null` or 0: none.",
  },
};

/** Mistakes in `optim_args`, and of keys that do not go together. */
export function optimizerProblems({ training, training_type }: ResolvedConfig): Finding[] {
  const { optim, optim_args: given, neftune_noise_alpha: alpha } = training;
  const problems: Finding[] = [];
  const known = OPTIMIZER_ARGUMENTS[optim];
  const names = Object.keys(known);
  for (const [name, value] of Object.entries(given)) {
    const key = `training.optim_args.${name}`;
    if (!Object.hasOwn(known, name)) {
      const nearest = nearestName(name, names);
      const takes = names.length === 0 ? "takes no arguments" : `takes ${names.join(", ")}`;
      const text = `the optimizer ${optim} ${takes}${nearest ? `; did you mean ${nearest}?` : ""}`;
      problems.push({ key, text });
    } else if (!known[name].accepts(value)) {
      problems.push({ key, text: `got ${JSON.stringify(value)}, want ${known[name].wanted}` });
    }
  }
  if (optim === "schedule_free_adamw" && training.adam_beta1 === 0) {
    problems.push({
      key: "training.adam_beta1",
      text:
        "got 0, want more with schedule_free_adamw, whose averaged weights are a division by it",
    });
  }
  if (alpha && (training_type === "grpo" || training_type === "gkd")) {
    problems.push({
      key: "training.neftune_noise_alpha",
      text:
        `is for SFT and DPO: under ${training_type.toUpperCase()}, noise would part the policy ` +
        "that trains from the one that samples; remove it",
    });
  }
  return problems;
}

/** What is allowed, but seldom meant. */
export function optimizerWarnings({ training }: ResolvedConfig): Finding[] {
  const { optim, lr_scheduler_type: schedule } = training;
  const flat = ["constant", "constant_with_warmup"];
  if (optim !== "schedule_free_adamw" || flat.includes(schedule)) return [];
  return [{
    key: "training.lr_scheduler_type",
    text: `got ${schedule}, which lowers the rates; schedule_free_adamw averages its weights ` +
      "instead, and wants constant",
  }];
}
