/**
 * The trackers that a config names.
 *
 * @module
 */
import { mlflowServer, MlflowTracker } from "./mlflow_tracker.ts";
import type { Tracker } from "./tracker.ts";
import { trackioPlace, TrackioTracker } from "./trackio_tracker.ts";
import { WandbTracker } from "./wandb_tracker.ts";

/** The part of `logging` that names trackers. */
export interface TrackerSettings {
  /** Names of `logging.report_to`; TensorBoard's files are written by the run itself. */
  readonly names: readonly string[];
  /** Team on Weights & Biases. */
  readonly wandbEntity: string | null;
}

/** A variable of the environment; undefined without the permission to read it. */
function variable(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch {
    return undefined;
  }
}

/** Makes the trackers; none of them does anything yet. */
export function makeTrackers({ names, wandbEntity }: TrackerSettings): Tracker[] {
  const makers: Readonly<Record<string, () => Tracker>> = {
    wandb: () => new WandbTracker({ entity: wandbEntity }),
    trackio: () => new TrackioTracker(trackioPlace(variable)),
    mlflow: () => new MlflowTracker(mlflowServer(variable)),
  };
  return names.flatMap((name) => name in makers ? [makers[name]()] : []);
}
