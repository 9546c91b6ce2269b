/**
 * The MPI library of this machine, called through FFI: found if it is there, never required. Open MPI
 * 4 and 5 have the same names; so have MPICH 3.1 and later and what shares its binary interface.
 *
 * @module
 */
import { environment } from "../device/thread_count.ts";
import { isHydra } from "./launcher.ts";
import {
  FUNCTIONS,
  mpichConstants,
  type MpiConstants,
  type MpiFunctions,
  OPEN_MPI_SYMBOLS,
  openMpiConstants,
} from "./mpi_functions.ts";

/** The library of this machine. */
export interface MpiLibrary {
  /** As `Open MPI 4.1.4`. */
  readonly version: string;
  /** Where it was found. */
  readonly file: string;
  /** Functions, handles and constants. */
  readonly mpi: MpiFunctions & MpiConstants;
}

/** Why there is no library, and how to get one. */
export interface NoMpi {
  readonly reason: string;
}

/** The files to try: first those that belong to what started this process. */
function candidates(): string[] {
  const chosen = environment("NANOVLM_MPI");
  if (chosen !== undefined && chosen !== "") return [chosen];
  const isMac = Deno.build.os === "darwin";
  const openMpi = isMac ? ["libmpi.40.dylib", "libmpi.dylib"] : ["libmpi.so.40", "libmpi.so"];
  const mpich = isMac ? ["libmpi.12.dylib"] : ["libmpich.so.12", "libmpi.so.12"];
  // mpirun sets it if the library has been moved since it was built.
  const prefix = environment("OPAL_PREFIX");
  const moved = prefix === undefined ? [] : openMpi.map((name) => `${prefix}/lib/${name}`);
  return isHydra() ? [...mpich, ...moved, ...openMpi] : [...moved, ...openMpi, ...mpich];
}

function versionText(functions: Pick<MpiFunctions, "MPI_Get_library_version">): string {
  // MPI_MAX_LIBRARY_VERSION_STRING of MPICH is 8192, that of Open MPI 256.
  const text = new Uint8Array(8192), length = new Int32Array(1);
  functions.MPI_Get_library_version(text, new Uint8Array(length.buffer));
  return new TextDecoder().decode(text.subarray(0, length[0])).replace(/\0.*$/s, "");
}

/**
 * Opens a library.
 *
 * @throws {Error} if it is not there, or is no MPI library that is known
 */
function openFile(file: string): MpiLibrary {
  const functions = Deno.dlopen(file, FUNCTIONS).symbols;
  const text = versionText(functions);
  const openMpi = /^(Open MPI) v([\d.]+\w*)/.exec(text);
  if (openMpi !== null) {
    const handles = Deno.dlopen(file, OPEN_MPI_SYMBOLS).symbols;
    const version = openMpi.slice(1).join(" ");
    return { version, file, mpi: { ...functions, ...openMpiConstants(handles) } };
  }
  const mpich = /^(MPICH|MVAPICH2?) Version:\s*([\d.]+\w*)|^(Intel\(R\) MPI Library [\d.]+)/
    .exec(text);
  if (mpich !== null) {
    const version = mpich[3] ?? `${mpich[1]} ${mpich[2]}`;
    return { version, file, mpi: { ...functions, ...mpichConstants() } };
  }
  throw new Error(`${text.split(/[,\n]/)[0]} is neither Open MPI 4 or 5 nor MPICH`);
}

function open(): MpiLibrary | NoMpi {
  if (Deno.build.os === "windows") return { reason: "Open MPI does not run on Windows" };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "no --allow-ffi permission" };
  }
  const failures: string[] = [];
  for (const file of candidates()) {
    try {
      return openFile(file);
    } catch (error) {
      failures.push(`${file}: ${error instanceof Error ? error.message : error}`);
    }
  }
  const strange = failures.find((text) => text.includes("is neither"));
  if (strange !== undefined) return { reason: strange };
  return {
    reason:
      "no libmpi.so.40 found (on Debian: apt install openmpi-bin; elsewhere set NANOVLM_MPI " +
      "to the file of the library)",
  };
}

let found: MpiLibrary | NoMpi | null = null;

/** The machine's MPI library; searched once in a process. Nothing is started by it. */
export function findMpi(): MpiLibrary | NoMpi {
  found ??= open();
  return found;
}
