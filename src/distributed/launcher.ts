/**
 * Whether `mpirun`, or a scheduler in its place, started this process, and as which rank.
 *
 * @module
 */
import { environment } from "../device/thread_count.ts";

/** What the launcher says in the environment. */
export interface Launch {
  /** From 0; null if the launcher tells it only to the library. */
  readonly rank: number | null;
  /** Null if the launcher tells it only to the library. */
  readonly size: number | null;
}

function wholeNumber(name: string): number | null {
  const text = environment(name);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

/** Whether MPICH's launcher, Hydra, or one that speaks its protocol started this process. */
export function isHydra(): boolean {
  return wholeNumber("OMPI_COMM_WORLD_SIZE") === null && wholeNumber("PMI_SIZE") !== null;
}

/**
 * What started this process: Open MPI's `mpirun` sets `OMPI_COMM_WORLD_SIZE`, and so do `prun` and
 * `srun --mpi=pmix` with `PMIX_RANK`. MPICH's sets `PMI_SIZE` and `PMI_RANK`.
 *
 * @returns null if it was started alone
 */
export function launch(): Launch | null {
  const size = wholeNumber("OMPI_COMM_WORLD_SIZE") ?? wholeNumber("PMI_SIZE");
  const rank = wholeNumber("OMPI_COMM_WORLD_RANK") ?? wholeNumber("PMIX_RANK") ??
    wholeNumber("PMI_RANK");
  if (size === null && environment("PMIX_NAMESPACE") === undefined) return null;
  return { rank, size: size ?? wholeNumber("SLURM_NTASKS") };
}
