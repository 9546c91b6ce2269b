/**
 * Replays the files of `losses/` that need no model: `dpo.json`, `grpo.json`, `advantages.json`.
 *
 * @module
 */
import { replayAdvantageCases } from "./advantage_cases.ts";
import { replayDpoCases } from "./dpo_cases.ts";
import { replayGrpoCases } from "./grpo_cases.ts";
import type { ParityResult } from "../result.ts";

/** Replays every file of `losses/` that needs no model. */
export async function replayLossCases(directory: string): Promise<ParityResult[]> {
  return [
    ...await replayDpoCases(directory),
    ...await replayGrpoCases(directory),
    ...await replayAdvantageCases(directory),
  ];
}
