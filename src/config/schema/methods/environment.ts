/**
 * Keys of the section `grpo` for completions of several turns.
 *
 * @module
 */
import type { EnvironmentKeys } from "../../types/config_types.ts";
import { OURS, TRL_GRPO } from "../../sources.ts";
import { group, nullable, orDefault } from "../../types/composite_types.ts";
import { integer, text } from "../../types/scalar_types.ts";
import { derived, same, type Table } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";
import { rewardKeys } from "../rewards.ts";

const { weight: _, ...optionKeys } = rewardKeys;

/** The keys. */
export const environmentKeys: Table<EnvironmentKeys> = {
  environment: {
    type: nullable(text("a module path")),
    default: same(null),
    source: OURS,
    meaning: "A TypeScript module that answers the model's turns with text and pictures, as " +
      "TRL's `environment_factory`: its functions `reset` and `step` run in the sandbox of the " +
      "rewards. A path, an `https:`, `jsr:` or `npm:` specifier, or `builtin:look_closer`.",
  },
  environment_options: {
    type: group(optionKeys, { filled: false }),
    default: derived("none", () => ({})),
    source: OURS,
    meaning: "What the environment may do, and its limits: the keys of `rewards` but `weight`.",
  },
  max_tool_calling_iterations: {
    type: nullable(integer({ min: 0 })),
    default: same(null),
    source: TRL_GRPO,
    meaning: "Most replies of the environment: another way to set `max_turns`, which is one more.",
  },
  max_turns: {
    type: orDefault(integer({ min: 1 })),
    default: derived(
      "4, or what `max_tool_calling_iterations` gives",
      ({ grpo }) => (grpo.max_tool_calling_iterations ?? 3) + 1,
    ),
    source: OURS,
    meaning: "Most turns of the model in a completion, if there is an `environment`. All turns " +
      "and replies together have `max_completion_length` tokens.",
  },
};

/** Mistakes in these keys. */
export function environmentProblems(grpo: EnvironmentKeys): Finding[] {
  const { environment, environment_options, max_turns, max_tool_calling_iterations: replies } =
    grpo;
  const problems: Finding[] = [];
  if (environment === null) {
    const text = "wants grpo.environment, the module that answers the model's turns; got none";
    if (replies !== null && replies > 0) {
      problems.push({ key: "grpo.max_tool_calling_iterations", text });
    }
    if (Object.keys(environment_options).length > 0) {
      problems.push({ key: "grpo.environment_options", text });
    }
    return problems;
  }
  if (environment.endsWith(".py")) {
    problems.push({
      key: "grpo.environment",
      text: `got the Python file ${environment}, want a TypeScript module with the functions ` +
        "reset and step; docs/environments.md has one to copy",
    });
  }
  if (replies !== null && max_turns !== replies + 1) {
    problems.push({
      key: "grpo.max_turns",
      text: `got ${max_turns}, but max_tool_calling_iterations ${replies} gives ${replies + 1}; ` +
        "keep one of them",
    });
  }
  return problems;
}
