/**
 * Checkpoints that hold a model alone (`training.save_only_model`): they are there to be evaluated
 * or used, and no run can go on from one.
 *
 * @module
 */
import { type Checkpoint, listCheckpoints, newestCheckpoint } from "./checkpoint_folder.ts";
import { checkHasState, RUN_STATE_FILE } from "./run_state.ts";

/** Whether a checkpoint was saved without the state of the optimizer. */
export async function holdsModelAlone(folder: string): Promise<boolean> {
  try {
    const state: unknown = JSON.parse(await Deno.readTextFile(`${folder}/${RUN_STATE_FILE}`));
    return typeof state === "object" && state !== null && "model_alone" in state &&
      state.model_alone === true;
  } catch {
    return false; // What is wrong with the file is told by who resumes from it.
  }
}

/**
 * The newest checkpoint that a run can go on from, its contents checked.
 *
 * @param onProblem gets a line for each folder that is left out
 * @returns null if there is none
 */
export async function newestWithState(
  outputDir: string,
  onProblem?: (text: string) => void,
): Promise<Checkpoint | null> {
  return await newestCheckpoint(
    outputDir,
    onProblem,
    async (path) => await holdsModelAlone(path) ? "it holds the model alone" : null,
  );
}

/**
 * The folder that `--resume auto` goes on from.
 *
 * @param onProblem gets a line for each folder that is left out
 * @returns null if the output folder has no checkpoint
 * @throws {CheckpointError} if all checkpoints hold the model alone
 */
export async function checkpointToResume(
  outputDir: string,
  onProblem: (text: string) => void,
): Promise<string | null> {
  const newest = await newestWithState(outputDir, onProblem);
  if (newest !== null) return newest.path;
  for (const { path } of (await listCheckpoints(outputDir)).reverse()) {
    if (await holdsModelAlone(path)) checkHasState(path, { model_alone: true });
  }
  return null;
}
