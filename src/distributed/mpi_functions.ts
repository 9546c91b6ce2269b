/**
 * The functions of MPI that we call, and the values that implementations do not share.
 *
 * Open MPI's handles (`MPI_COMM_WORLD`, `MPI_FLOAT`, `MPI_SUM`) are addresses of symbols of its
 * library. MPICH's are integers of 32 bits, and so are those of the libraries that share its binary
 * interface. Both travel in a register or a slot of 64 bits on x86-64 and on arm64, so that one
 * signature with pointers serves both.
 *
 * @module
 */

/** `MPI_THREAD_MULTIPLE`: any thread may call, at any time. */
export const THREAD_MULTIPLE = 3;

// Calls that may take long and cannot be divided run on another thread (`nonblocking`), so that a
// timer can notice that a rank does not come. The others return at once.
export const FUNCTIONS = {
  MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
  MPI_Init_thread: { parameters: ["pointer", "pointer", "i32", "buffer"], result: "i32" },
  MPI_Comm_rank: { parameters: ["pointer", "buffer"], result: "i32" },
  MPI_Comm_size: { parameters: ["pointer", "buffer"], result: "i32" },
  MPI_Finalize: { parameters: [], result: "i32", nonblocking: true },
  MPI_Abort: { parameters: ["pointer", "i32"], result: "i32" },
  MPI_Allreduce: {
    // sendbuf, recvbuf, count, type, operation, communicator
    parameters: ["pointer", "buffer", "i32", "pointer", "pointer", "pointer"],
    result: "i32",
    nonblocking: true,
  },
  MPI_Iallreduce: {
    // the same, request
    parameters: [
      ...["pointer", "buffer", "i32"] as const,
      ...["pointer", "pointer", "pointer", "buffer"] as const,
    ],
    result: "i32",
  },
  MPI_Alltoall: {
    // sendbuf, count to each, type, recvbuf, count from each, type, communicator
    parameters: ["buffer", "i32", "pointer", "buffer", "i32", "pointer", "pointer"],
    result: "i32",
    nonblocking: true,
  },
  MPI_Iallgather: {
    // sendbuf, count, type, recvbuf, count of each, type, communicator, request
    parameters: [
      ...["buffer", "i32", "pointer", "buffer"] as const,
      ...["i32", "pointer", "pointer", "buffer"] as const,
    ],
    result: "i32",
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
  MPI_Iallgatherv: {
    // the same, request
    parameters: [
      ...["buffer", "i32", "pointer", "buffer"] as const,
      ...["buffer", "buffer", "pointer", "pointer", "buffer"] as const,
    ],
    result: "i32",
  },
  MPI_Bcast: {
    // buffer, count, type, root, communicator
    parameters: ["buffer", "i32", "pointer", "i32", "pointer"],
    result: "i32",
    nonblocking: true,
  },
  // communicator, request
  MPI_Ibarrier: { parameters: ["pointer", "buffer"], result: "i32" },
  // request, flag, status
  MPI_Test: { parameters: ["buffer", "buffer", "pointer"], result: "i32" },
  // buffer, count, type, destination, tag, communicator
  MPI_Send: {
    parameters: ["buffer", "i32", "pointer", "i32", "i32", "pointer"],
    result: "i32",
  },
  // source, tag, communicator, flag, status
  MPI_Iprobe: { parameters: ["i32", "i32", "pointer", "buffer", "pointer"], result: "i32" },
  // buffer, count, type, source, tag, communicator, status
  MPI_Recv: {
    parameters: ["buffer", "i32", "pointer", "i32", "i32", "pointer", "pointer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const pointer = { type: "pointer" } as const;

/** Symbols of Open MPI 4 and 5 whose addresses are handles. */
export const OPEN_MPI_SYMBOLS = {
  world: { name: "ompi_mpi_comm_world", ...pointer },
  byte: { name: "ompi_mpi_byte", ...pointer },
  int32: { name: "ompi_mpi_int32_t", ...pointer },
  float: { name: "ompi_mpi_float", ...pointer },
  double: { name: "ompi_mpi_double", ...pointer },
  sum: { name: "ompi_mpi_op_sum", ...pointer },
} as const satisfies Deno.ForeignLibraryInterface;

/** Handles and constants of an implementation. */
export interface MpiConstants {
  readonly world: Deno.PointerValue;
  readonly byte: Deno.PointerValue;
  readonly int32: Deno.PointerValue;
  readonly float: Deno.PointerValue;
  readonly double: Deno.PointerValue;
  readonly sum: Deno.PointerValue;
  /** `MPI_IN_PLACE`: the operand is where the result goes. */
  readonly inPlace: Deno.PointerValue;
  /** `MPI_STATUS_IGNORE` */
  readonly noStatus: Deno.PointerValue;
  /** `MPI_ANY_SOURCE` */
  readonly anySource: number;
}

const address = (value: bigint): Deno.PointerValue => Deno.UnsafePointer.create(value);

/** Open MPI's constants beside its handles; its `mpi.h`. */
export const openMpiConstants = (
  handles: Pick<MpiConstants, keyof typeof OPEN_MPI_SYMBOLS>,
): MpiConstants => ({
  ...handles,
  inPlace: address(1n),
  noStatus: null,
  anySource: -1,
});

/** MPICH's constants, of its `mpi.h`; its binary interface keeps them from 3.1 on. */
export const mpichConstants = (): MpiConstants => ({
  world: address(0x44000000n),
  byte: address(0x4c00010dn),
  int32: address(0x4c000405n), // MPI_INT
  float: address(0x4c00040an),
  double: address(0x4c00080bn),
  sum: address(0x58000003n),
  inPlace: address(0xffff_ffff_ffff_ffffn),
  noStatus: address(1n),
  anySource: -2,
});

/** What is called. */
export type MpiFunctions = Deno.DynamicLibrary<typeof FUNCTIONS>["symbols"];

/** What {@linkcode Deno.dlopen} gives for Open MPI's handles. */
export type OpenMpiHandles = Deno.DynamicLibrary<typeof OPEN_MPI_SYMBOLS>["symbols"];
