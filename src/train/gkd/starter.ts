/**
 * The teacher of `train gkd` without a config: the tiny nanoVLM of `train sft`, trained on the drawn
 * shapes before the run.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { BUILTIN_SHAPES } from "../../data/embedded/embedded_dataset.ts";
import type { BackendChoice } from "../../device/backend.ts";
import { starterFolder, starterOf } from "../sft/starter.ts";

/** Optimizer steps of SFT behind the teacher. */
export const TEACHER_STEPS = 500;

/** The config of a run; if it asks for the embedded teacher, with the folder of that. */
export async function withTeacher(
  config: ResolvedConfig,
  options: {
    readonly backend: BackendChoice;
    readonly signal?: AbortSignal;
    readonly watched?: string;
    readonly announced?: boolean;
  },
): Promise<ResolvedConfig> {
  if (config.gkd.teacher_model_name_or_path !== BUILTIN_SHAPES) return config;
  const folder = await starterOf(
    config,
    options,
    "teacher",
    (outputDir, starter) => starterFolder(outputDir, { steps: TEACHER_STEPS, ...starter }),
  );
  return { ...config, gkd: { ...config.gkd, teacher_model_name_or_path: folder } };
}
