/**
 * The section `rewards` of the YAML.
 *
 * @module
 */
import type { RewardOptions } from "../types/config_types.ts";
import { OURS } from "../sources.ts";
import { either, listOf, nullable } from "../types/composite_types.ts";
import { boolean, integer, number, text } from "../types/scalar_types.ts";
import { derived, same, type Table } from "../types/value_type.ts";

/** The keys of each entry of `rewards`. */
export const rewardKeys: Table<RewardOptions> = {
  weight: {
    type: number(),
    default: same(1),
    source: OURS,
    meaning: "Weight in the sum of rewards.",
  },
  timeout_ms: {
    type: integer({ min: 1 }),
    default: same(10_000),
    source: OURS,
    meaning: "Longest call, in milliseconds; a later one scores null.",
  },
  memory_mb: {
    type: integer({ min: 16 }),
    default: same(512),
    source: OURS,
    meaning: "Memory of the module's process, in MiB.",
  },
  allow_net: {
    type: either(boolean(), listOf(text("a host"))),
    default: derived("none", () => []),
    source: OURS,
    meaning: "Hosts that the module may connect to; `true`: all.",
  },
  allow_read: {
    type: either(boolean(), listOf(text("a path"))),
    default: derived("none", () => []),
    source: OURS,
    meaning: "Paths that the module may read; `true`: all.",
  },
  allow_env: {
    type: listOf(text("a variable's name")),
    default: derived("none", () => []),
    source: OURS,
    meaning: "Environment variables that the module may read.",
  },
  processes: {
    type: integer({ min: 1, max: 64 }),
    default: same(1),
    source: OURS,
    meaning: "Processes that share the module's calls.",
  },
  integrity: {
    type: nullable(text("`sha256-…`")),
    default: same(null),
    source: OURS,
    meaning:
      "Hash over the module's whole graph; needed for `https:`, `jsr:` and `npm:` modules. " +
      "`reward check` prints it.",
  },
};
