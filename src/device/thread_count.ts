/**
 * How many threads the CPU path uses.
 * @module
 */

/** With more threads the products of small models do not get faster. */
const MOST_THREADS = 8;

/** An environment variable; undefined if it is unset or may not be read. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch {
    return undefined; // No env permission.
  }
}

/** Processes of a job of Open MPI or MPICH that share this machine. */
function processesHere(): number {
  const count = environment("OMPI_COMM_WORLD_LOCAL_SIZE") ?? environment("MPI_LOCALNRANKS");
  return Math.max(1, Number(count ?? 1) || 1);
}

/**
 * Threads, ours included: `NANOVLM_THREADS`, else one for each core that this process may use, at most
 * eight. Processes that `mpirun` started on one machine share its cores.
 */
export function threadCount(): number {
  const cores = navigator.hardwareConcurrency / processesHere();
  const wanted = Number(environment("NANOVLM_THREADS") ?? cores);
  return Math.max(1, Math.min(Math.floor(wanted) || 1, MOST_THREADS));
}
