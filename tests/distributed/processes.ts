/** What Linux tells of the processes of this machine. */

/** A process; its start time tells it from a later one with the same id. */
export interface RunningProcess {
  readonly pid: number;
  readonly parent: number;
  /** Ticks since the machine started. */
  readonly started: string;
}

/** A process by its id; null if it has ended, even if no program has asked for its exit code yet. */
async function processOf(pid: number): Promise<RunningProcess | null> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
  // The name in parentheses may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (stat === "" || fields[0] === "Z") return null;
  return { pid, parent: Number(fields[1]), started: fields[19] };
}

/** Every process. */
async function allProcesses(): Promise<RunningProcess[]> {
  const found: RunningProcess[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    const one = /^\d+$/.test(name) ? await processOf(Number(name)) : null;
    if (one !== null) found.push(one);
  }
  return found.sort((a, b) => a.pid - b.pid);
}

/** Ids of the processes whose parent is `parent`: the ranks of an `mpirun`. */
export async function childrenOf(parent: number): Promise<number[]> {
  return (await allProcesses()).filter((one) => one.parent === parent).map(({ pid }) => pid);
}

/** The processes below `ancestor`, at any depth. */
export async function descendantsOf(ancestor: number): Promise<RunningProcess[]> {
  const all = await allProcesses();
  const found: RunningProcess[] = [];
  let parents = new Set([ancestor]);
  while (parents.size > 0) {
    const next = all.filter(({ parent }) => parents.has(parent));
    found.push(...next);
    parents = new Set(next.map(({ pid }) => pid));
  }
  return found;
}

/** Those of some processes that still run. */
export async function stillRunning(
  processes: readonly RunningProcess[],
): Promise<RunningProcess[]> {
  const now = await Promise.all(processes.map(({ pid }) => processOf(pid)));
  return processes.filter(({ started }, i) => now[i]?.started === started);
}
