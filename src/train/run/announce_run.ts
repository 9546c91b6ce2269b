/**
 * The first lines of a run.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import type { ActiveBackend } from "../../device/backend.ts";
import { currentRanks } from "../../distributed/ranks.ts";

/**
 * Says what computes, and where the run is seen while it goes on.
 *
 * @param config names the output folder
 * @param backend that was started
 * @param watched the line about a server that shows the page; undefined: none runs
 */
export function announceRun(
  { training }: ResolvedConfig,
  backend: ActiveBackend,
  watched: string | undefined,
): void {
  if (currentRanks().rank !== 0) return;
  console.error(`backend ${backend.reason}`);
  if (watched !== undefined) console.error(watched);
  const page = `${training.output_dir.replace(/\/+$/, "")}/report.html`;
  console.error(`report ${page}: open it now, it shows the run while it goes on`);
}
