import type { FactGroup } from "./page/report_contents.ts";
import type { TrackedRun, Tracker } from "./trackers/tracker.ts";

/** What is known of a run when it starts. */
export interface RunInfo {
  /** What runs, for the page's title, as `SFT of nanoVLM on drawn shapes`. */
  readonly title: string;
  /** What runs, in a word, for the progress line, as `sft`. */
  readonly label: string;
  /** The step the run ends at. */
  readonly totalSteps: number;
  /** The step of the checkpoint that it continues; absent for a new run. */
  readonly resumedFromStep?: number;
  /** What ran: model, data, device, … */
  readonly facts: readonly FactGroup[];
  /** The resolved configuration as YAML; kept as config.resolved.yaml. */
  readonly configYaml: string;
  /** What the page shows of it; default: all. */
  readonly shownConfig?: string;
  /** Whether TensorBoard's event files are written; default: yes. */
  readonly tensorBoard?: boolean;
  /** Trackers that get the metrics too, and what they are told of the run; default: none. */
  readonly tracking?: Omit<TrackedRun, "folder" | "resumed"> & {
    readonly trackers: readonly Tracker[];
  };
  /** How many completions a log prints (grpo.num_completions_to_print); 0 prints none. */
  readonly completionsToPrint?: number;
}
