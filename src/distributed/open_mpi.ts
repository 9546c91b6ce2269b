/**
 * Open MPI's library, called through FFI: found if it is there, never required.
 *
 * In Open MPI a handle (`MPI_COMM_WORLD`, `MPI_FLOAT`, `MPI_SUM`) is the address of a symbol of the
 * library, and the names are the same in versions 4 and 5. MPICH's handles are integers with other
 * values; its library lacks these symbols and is refused.
 *
 * @module
 */
import { environment } from "../device/thread_count.ts";

/** `MPI_THREAD_MULTIPLE`: any thread may call, at any time. */
export const THREAD_MULTIPLE = 3;
/** `MPI_ANY_SOURCE`. */
export const ANY_SOURCE = -1;

const pointer = { type: "pointer" } as const;

const SYMBOLS = {
  MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
  MPI_Init_thread: { parameters: ["pointer", "pointer", "i32", "buffer"], result: "i32" },
  MPI_Comm_rank: { parameters: ["pointer", "buffer"], result: "i32" },
  MPI_Comm_size: { parameters: ["pointer", "buffer"], result: "i32" },
  MPI_Get_processor_name: { parameters: ["buffer", "buffer"], result: "i32" },
  MPI_Finalize: { parameters: [], result: "i32", nonblocking: true },
  MPI_Abort: { parameters: ["pointer", "i32"], result: "i32" },
  // Calls that wait for other ranks run on another thread, so that a timer can notice that one hangs.
  MPI_Allreduce: {
    // sendbuf (1: in place), recvbuf, count, type, operation, communicator
    parameters: ["pointer", "buffer", "i32", "pointer", "pointer", "pointer"],
    result: "i32",
    nonblocking: true,
  },
  MPI_Allgather: {
    // sendbuf, count, type, recvbuf, count of each, type, communicator
    parameters: ["buffer", "i32", "pointer", "buffer", "i32", "pointer", "pointer"],
    result: "i32",
    nonblocking: true,
  },
  MPI_Allgatherv: {
    // sendbuf, count, type, recvbuf, counts, displacements, type, communicator
    parameters: [
      ...["buffer", "i32", "pointer", "buffer"] as const,
      ...["buffer", "buffer", "pointer", "pointer"] as const,
    ],
    result: "i32",
    nonblocking: true,
  },
  MPI_Bcast: {
    // buffer, count, type, root, communicator
    parameters: ["buffer", "i32", "pointer", "i32", "pointer"],
    result: "i32",
    nonblocking: true,
  },
  MPI_Barrier: { parameters: ["pointer"], result: "i32", nonblocking: true },
  // communicator, request
  MPI_Ibarrier: { parameters: ["pointer", "buffer"], result: "i32" },
  // request, flag, status
  MPI_Test: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
  // buffer, count, type, destination, tag, communicator
  MPI_Send: {
    parameters: ["buffer", "i32", "pointer", "i32", "i32", "pointer"],
    result: "i32",
  },
  // source, tag, communicator, flag, status
  MPI_Iprobe: { parameters: ["i32", "i32", "pointer", "buffer", "buffer"], result: "i32" },
  // buffer, count, type, source, tag, communicator, status
  MPI_Recv: {
    parameters: ["buffer", "i32", "pointer", "i32", "i32", "pointer", "buffer"],
    result: "i32",
  },
  world: { name: "ompi_mpi_comm_world", ...pointer },
  byte: { name: "ompi_mpi_byte", ...pointer },
  int32: { name: "ompi_mpi_int32_t", ...pointer },
  float: { name: "ompi_mpi_float", ...pointer },
  double: { name: "ompi_mpi_double", ...pointer },
  sum: { name: "ompi_mpi_op_sum", ...pointer },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions and handles of the library. */
export type OpenMpiSymbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** The library of this machine. */
export interface OpenMpi {
  /** As `Open MPI 4.1.4`. */
  readonly version: string;
  /** Where it was found. */
  readonly file: string;
  readonly symbols: OpenMpiSymbols;
}

/** Why there is no library, and how to get one. */
export interface NoOpenMpi {
  readonly reason: string;
}

/** The files to try; Open MPI 4 and 5 have the same number in their names. */
function candidates(): string[] {
  const names = Deno.build.os === "darwin"
    ? ["libmpi.40.dylib", "libmpi.dylib"]
    : ["libmpi.so.40", "libmpi.so"];
  const chosen = environment("NANOVLM_MPI");
  if (chosen !== undefined && chosen !== "") return [chosen];
  // mpirun sets it if the library has been moved since it was built.
  const prefix = environment("OPAL_PREFIX");
  const moved = prefix === undefined ? [] : names.map((name) => `${prefix}/lib/${name}`);
  return [...moved, ...names];
}

function versionOf(symbols: OpenMpiSymbols): string {
  const text = new Uint8Array(512), length = new Int32Array(1);
  symbols.MPI_Get_library_version(text, length);
  const whole = new TextDecoder().decode(text.subarray(0, length[0]));
  return /^(Open MPI) v([\d.]+\w*)/.exec(whole)?.slice(1).join(" ") ?? whole.split(",")[0];
}

function open(): OpenMpi | NoOpenMpi {
  if (Deno.build.os === "windows") return { reason: "Open MPI does not run on Windows" };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "no --allow-ffi permission" };
  }
  const failures: string[] = [];
  for (const file of candidates()) {
    try {
      const { symbols } = Deno.dlopen(file, SYMBOLS);
      return { version: versionOf(symbols), file, symbols };
    } catch (error) {
      failures.push(`${file}: ${error instanceof Error ? error.message : error}`);
    }
  }
  // MPICH's library has the functions and not these handles.
  const strange = failures.find((text) => text.includes("ompi_mpi"));
  if (strange !== undefined) {
    return { reason: `${strange.split(":")[0]} is no Open MPI 4 or 5, the only one supported` };
  }
  return {
    reason:
      "no libmpi.so.40 found (on Debian: apt install openmpi-bin; elsewhere set NANOVLM_MPI " +
      "to the file of the library)",
  };
}

let found: OpenMpi | NoOpenMpi | null = null;

/** The machine's Open MPI; searched once in a process. Nothing is started by it. */
export function findOpenMpi(): OpenMpi | NoOpenMpi {
  found ??= open();
  return found;
}
