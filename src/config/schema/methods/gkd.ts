/**
 * The section `gkd` of the YAML.
 *
 * @module
 */
import { TRL_GKD } from "../../sources.ts";
import type { GKDSection, ResolvedConfig } from "../../types/config_types.ts";
import { nullable } from "../../types/composite_types.ts";
import { boolean, integer, number, text } from "../../types/scalar_types.ts";
import { same, type Table } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";

/** The keys of `gkd`. */
export const gkdKeys: Table<GKDSection> = {
  teacher_model_name_or_path: {
    type: nullable(text()),
    default: same(null),
    source: TRL_GKD,
    meaning: "The teacher: a folder or Hub id of a model with the student's tokenizer and image " +
      "processor. It is frozen; weights that its files hold in 16 bits stay in 16 bits.",
  },
  lmbda: {
    type: number({ min: 0, max: 1 }),
    default: same(0.5),
    source: TRL_GKD,
    meaning:
      "Share of the steps in which the student learns from answers of its own. Higher teaches it " +
      "on the mistakes that it really makes, and costs the time to sample them; 0 samples nothing.",
  },
  beta: {
    type: number({ min: 0, max: 1 }),
    default: same(0.5),
    source: TRL_GKD,
    meaning:
      "The divergence: 0 is KL(teacher ‖ student), 1 is KL(student ‖ teacher), between them " +
      "the generalized Jensen-Shannon divergence with this share of the teacher.",
  },
  temperature: {
    type: number({ above: 0 }),
    default: same(0.9),
    source: TRL_GKD,
    meaning: "Temperature of sampled answers; the loss is at temperature 1.",
  },
  max_new_tokens: {
    type: integer({ min: 1 }),
    default: same(128),
    source: TRL_GKD,
    meaning: "Longest sampled answer, in tokens.",
  },
  seq_kd: {
    type: boolean(),
    default: same(false),
    source: TRL_GKD,
    meaning: "Sequence-level distillation: in the other steps the teacher writes the answers. " +
      "`false`: they are the data's.",
  },
  disable_dropout: {
    type: boolean(),
    default: same(true),
    source: TRL_GKD,
    meaning: "No dropout while training.",
  },
};

/** Mistakes in the section `gkd`. */
export function gkdProblems({ gkd, training }: ResolvedConfig): Finding[] {
  const problems: Finding[] = [];
  if (gkd.teacher_model_name_or_path === null) {
    problems.push({
      key: "gkd.teacher_model_name_or_path",
      text: "missing; want the folder or Hub id of a model with the student's tokenizer",
    });
  }
  for (const key of ["token_budget", "image_budget"] as const) {
    if (training[key] === null) continue;
    problems.push({
      key: `training.${key}`,
      text:
        `got ${training[key]}, want null: the lengths of sampled answers are not known when a ` +
        "step is cut into micro-batches",
    });
  }
  return problems;
}
