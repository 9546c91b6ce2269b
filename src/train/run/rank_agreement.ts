/**
 * The check before the first step that all ranks do the same: version, settings, data, backend,
 * weights.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { gatherJson, type Ranks } from "../../distributed/ranks.ts";
import { runIdentity } from "../checkpoint/run_identity.ts";
import { oddRanks, tensorHash } from "../loop/same_weights.ts";
import type { TrainingMethod } from "../loop/training_method.ts";
import type { PreparedModel } from "./prepare_model.ts";

/** What a rank is about to do. */
export interface RankPlan {
  /** Of this package; null if the caller did not say. */
  readonly version: string | null;
  readonly config: ResolvedConfig;
  readonly method: TrainingMethod;
  readonly prepared: PreparedModel;
}

/** Values by name, as text. */
type Facts = Readonly<Record<string, string>>;

/**
 * What differs between ranks, naming the odd ones.
 *
 * @param facts of each rank
 * @param hosts of each rank
 * @returns a line for each fact that is not the same on all ranks
 */
export function rankDifferences(facts: readonly Facts[], hosts: readonly string[]): string[] {
  const names = [...new Set(facts.flatMap((one) => Object.keys(one)))];
  return names.flatMap((name) => {
    const values = facts.map((one) => one[name] ?? "not set");
    return oddRanks(values).map((rank) => {
      const usual = values.find((_, other) => !oddRanks(values).includes(other));
      return `${name} is ${values[rank]} on rank ${rank} (${hosts[rank]}), and ${usual} elsewhere`;
    });
  });
}

/**
 * Checks that all ranks are about to do the same.
 *
 * @throws {Error} on every rank, if one differs; it names the odd ones
 */
export async function checkRankAgreement(
  ranks: Ranks,
  { version, config, method, prepared: { model } }: RankPlan,
): Promise<void> {
  if (ranks.size === 1) return;
  const { data, backend, settings } = runIdentity(method, config);
  const own: Facts = {
    "the version of @nanovlm/lab": String(version),
    "the version of Deno": Deno.version.deno,
    "the backend": String(backend),
    "the data": `${data.name} (${data.examples ?? "?"} examples, ${data.fingerprint.slice(0, 12)})`,
    "the hash of the weights": (await tensorHash(model.weights)).slice(0, 12),
    ...Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [key, JSON.stringify(value)]),
    ),
  };
  const facts = await gatherJson(ranks, own, "the check that all ranks do the same");
  const differences = rankDifferences(facts, ranks.hosts);
  if (differences.length === 0) return;
  throw new Error(
    `Cannot train on ${ranks.size} ranks that differ: ${
      differences.slice(0, 5).join("; ")
    }. Give ` +
      "every rank the same command, version, config, data and kind of backend",
  );
}
