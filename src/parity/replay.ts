/**
 * Replays a fixtures folder: every group of cases whose files it has.
 *
 * @module
 */
import { exists } from "./fixture_model.ts";
import type { ParityResult } from "./result.ts";

/** One module of cases, loaded if its files exist. */
interface ParityGroup {
  /** Beginnings of its cases' names, and other names for it. */
  readonly names: readonly string[];
  /** Files below the folder without which it has nothing to replay. */
  readonly needs: readonly string[];
  readonly load: () => Promise<(directory: string) => Promise<ParityResult[]>>;
}

const GROUPS: readonly ParityGroup[] = [
  {
    names: ["tokenizer", "preprocess"],
    needs: ["tokenizer/tokenizer.json"],
    load: async () => (await import("./cases/text_cases.ts")).replayTextCases,
  },
  {
    names: ["preprocess"],
    needs: ["preprocess/preprocess.json"],
    load: async () => (await import("./cases/image_cases.ts")).replayImageCases,
  },
  {
    names: ["sampling"],
    needs: ["sampling.json"],
    load: async () => (await import("./cases/sampling_cases.ts")).replaySamplingCases,
  },
  {
    names: ["schedulers", "train"],
    needs: ["train/schedulers.json"],
    load: async () => (await import("./cases/schedule_cases.ts")).replayScheduleCases,
  },
  {
    names: ["dpo", "losses"],
    needs: ["losses/dpo.json"],
    load: async () => (await import("./cases/dpo_cases.ts")).replayDpoCases,
  },
  {
    names: ["grpo", "losses"],
    needs: ["losses/grpo.json"],
    load: async () => (await import("./cases/grpo_cases.ts")).replayGrpoCases,
  },
  {
    names: ["advantages", "losses"],
    needs: ["losses/advantages.json"],
    load: async () => (await import("./cases/advantage_cases.ts")).replayAdvantageCases,
  },
  {
    names: ["weights", "model", "variants", "lora"],
    needs: ["model/config.json", "model/model.safetensors"],
    load: async () => (await import("./cases/weights_cases.ts")).replayWeightsCases,
  },
  {
    names: ["model", "variants"],
    needs: ["model/config.json", "model/model.safetensors", "model/forward.safetensors"],
    load: async () => (await import("./cases/model_cases.ts")).replayModelCases,
  },
  {
    names: ["lora"],
    needs: ["lora/lora.json", "model/model.safetensors", "model/forward.safetensors"],
    load: async () => (await import("./cases/lora_cases.ts")).replayLoraCases,
  },
  {
    names: ["generate", "variants"],
    needs: ["model/config.json", "model/model.safetensors"],
    load: async () => (await import("./cases/generate_cases.ts")).replayGenerateCases,
  },
  {
    names: ["losses"],
    needs: ["losses/model_losses.safetensors", "model/model.safetensors"],
    load: async () => (await import("./cases/model_losses_cases.ts")).replayModelLossesCases,
  },
  {
    names: ["train"],
    needs: ["train/batches.safetensors", "model/model.safetensors"],
    load: async () => (await import("./cases/train_cases.ts")).replayTrainCases,
  },
  {
    names: ["backbones"],
    needs: ["backbones/expected.safetensors"],
    load: async () => (await import("./cases/backbone_cases.ts")).replayBackboneCases,
  },
  {
    names: ["smolvlm"],
    needs: ["smolvlm/smolvlm.json", "preprocess/images"],
    load: async () => (await import("./cases/smolvlm_cases.ts")).replaySmolVLMCases,
  },
];

/** Names that `only` may begin with. */
export const PARITY_NAMES: readonly string[] = [...new Set(GROUPS.flatMap(({ names }) => names))];

/** Whether cases of that name or beginning can be in a group. */
function mayHold(group: ParityGroup, only: string): boolean {
  return group.names.some((name) => only.startsWith(name) || name.startsWith(only));
}

/** Whether `only` is a name of the whole group that its cases do not begin with. */
function isAlias(group: ParityGroup, only: string, results: readonly ParityResult[]): boolean {
  return group.names.includes(only) && !results.some((result) => result.case.startsWith(only));
}

/** A group that could not be replayed counts as out of tolerance. */
function brokenGroup(group: ParityGroup, error: unknown): ParityResult {
  return {
    case: group.names[0],
    quantity: "replay",
    error: Infinity,
    tolerance: 0,
    ok: false,
    detail: error instanceof Error ? error.message : String(error),
  };
}

/**
 * Replays a fixtures folder on the current backend, group by group.
 *
 * @param directory the fixtures folder; groups whose files it lacks are passed over
 * @param only cases whose name begins so: `lora`, `variants/untied`, `train/sft step 3`; undefined: all
 * @returns the results of each group that the folder has, as soon as it is done; a group whose files are damaged
 *   gives one failed result
 */
export async function* replayFixtures(
  directory: string,
  only?: string,
): AsyncGenerator<readonly ParityResult[]> {
  for (const group of GROUPS) {
    if (only !== undefined && !mayHold(group, only)) continue;
    const there = await Promise.all(group.needs.map((file) => exists(`${directory}/${file}`)));
    if (there.includes(false)) continue;
    let results: readonly ParityResult[];
    try {
      results = await (await group.load())(directory);
    } catch (error) {
      results = [brokenGroup(group, error)];
    }
    if (only !== undefined && !isAlias(group, only, results)) {
      results = results.filter((result) => result.case.startsWith(only));
    }
    if (results.length > 0) yield results;
  }
}
