/**
 * Joins the other processes that `mpirun` started.
 *
 * @module
 */
import { environment } from "../device/thread_count.ts";
import { launch } from "./launcher.ts";
import { MpiRanks } from "./mpi_ranks.ts";
import { THREAD_MULTIPLE } from "./mpi_functions.ts";
import { findMpi } from "./mpi_library.ts";
import { ALONE, currentRanks, type Ranks, setCurrentRanks } from "./ranks.ts";

/** How long a rank waits for another one before the job ends, seconds. */
const TIMEOUT_S = 600;

/** `NANOVLM_RANK_TIMEOUT`, in milliseconds. */
function timeoutMs(): number {
  const text = environment("NANOVLM_RANK_TIMEOUT") ?? "";
  if (text === "") return TIMEOUT_S * 1000;
  const seconds = Number(text);
  if (seconds > 0) return seconds * 1000;
  throw new TypeError(
    `Cannot wait for other ranks: NANOVLM_RANK_TIMEOUT is "${text}", want seconds above 0`,
  );
}

/**
 * Joins the ranks of the job, once in a process; without a launcher, or with one process, nothing is
 * loaded and {@linkcode ALONE} is returned.
 *
 * @throws {Error} if a launcher started this process and Open MPI cannot be used
 */
export async function startRanks(): Promise<Ranks> {
  if (currentRanks().size > 1) return currentRanks();
  const launched = launch();
  if (launched === null || launched.size === 1) return ALONE;
  const library = findMpi();
  const count = launched.size === null ? "several" : String(launched.size);
  if ("reason" in library) {
    throw new Error(`Cannot train as one of ${count} ranks: ${library.reason}`);
  }
  const { mpi, version, file } = library;
  const provided = new Int32Array(1), rank = new Int32Array(1), size = new Int32Array(1);
  const view = ({ buffer }: Int32Array) => new Uint8Array(buffer as ArrayBuffer);
  mpi.MPI_Init_thread(null, null, THREAD_MULTIPLE, view(provided));
  if (provided[0] < THREAD_MULTIPLE) {
    throw new Error(
      `Cannot train as one of ${count} ranks: ${version} (${file}) grants thread level ` +
        `${provided[0]}, want ${THREAD_MULTIPLE} (MPI_THREAD_MULTIPLE)`,
    );
  }
  mpi.MPI_Comm_rank(mpi.world, view(rank));
  mpi.MPI_Comm_size(mpi.world, view(size));
  if (launched.size !== null && size[0] !== launched.size) {
    throw new Error(
      `Cannot train as one of ${count} ranks: ${version} (${file}) sees ${
        size[0]
      }. mpirun and the ` +
        "library must be of one version; set NANOVLM_MPI to the library beside mpirun",
    );
  }
  if (size[0] === 1) return ALONE;
  const ranks = await MpiRanks.start({ library, rank: rank[0], size: size[0] }, timeoutMs());
  setCurrentRanks(ranks);
  return ranks;
}
