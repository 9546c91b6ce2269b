/**
 * Finds the folders of runs below a folder. Their measurements are not read.
 *
 * @module
 */

/** A run's folder. */
export interface RunFolder {
  /** Path below the folder that was searched, with `/`; `.` for itself. */
  readonly name: string;
  readonly path: string;
  /** When something was measured last, in ms since 1970. */
  readonly updatedAt: number;
  /** Size of metrics.jsonl. */
  readonly metricsBytes: number;
  /** Whether there is a page. */
  readonly hasReport: boolean;
}

/** Folders that hold no run of their own. */
const SKIPPED = /^(?:checkpoint-\d+|final_model|runs|node_modules|\..*)$/;
/** Folders of folders of runs. */
const MOST_DEPTH = 3;

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function folderOfRun(path: string, name: string): Promise<RunFolder | null> {
  const file = await Deno.stat(`${path}/metrics.jsonl`).catch(() => null);
  if (file === null || !file.isFile) return null;
  return {
    name,
    path,
    updatedAt: file.mtime?.getTime() ?? 0,
    metricsBytes: file.size,
    hasReport: await exists(`${path}/report.html`),
  };
}

/**
 * The runs in a folder and up to three levels below it, the newest first.
 *
 * @param folder searched
 * @throws {Deno.errors.NotFound} if it is missing
 */
export async function findRuns(folder: string): Promise<RunFolder[]> {
  const runs: RunFolder[] = [];
  const visit = async (path: string, name: string, depth: number): Promise<void> => {
    const run = await folderOfRun(path, name === "" ? "." : name);
    if (run !== null) runs.push(run);
    if (depth === MOST_DEPTH) return;
    for await (const entry of Deno.readDir(path)) {
      if (!entry.isDirectory || SKIPPED.test(entry.name)) continue;
      const below = name === "" ? entry.name : `${name}/${entry.name}`;
      await visit(`${path}/${entry.name}`, below, depth + 1);
    }
  };
  await visit(folder, "", 0);
  return runs.sort((a, b) => b.updatedAt - a.updatedAt || a.name.localeCompare(b.name));
}
