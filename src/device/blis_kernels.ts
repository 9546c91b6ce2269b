/**
 * Which kernels BLIS multiplies with. It knows a processor with AVX-512 by its name, and where it
 * does not know the name, as that of most virtual machines ("Intel(R) Xeon(R) Processor"), it takes
 * those for AVX2, which are half as fast. `BLIS_ARCH_TYPE` names others before its first call
 * (BLIS's `bli_cpuid.c` and `bli_arch.c`).
 * @module
 */
import { cpus } from "node:os";
import { environment } from "./thread_count.ts";

/** BLIS's number of its kernels for AVX-512 (`arch_t`), and its name for them. */
const AVX512 = { number: "0", name: "skx" } as const;

/**
 * What a processor must have for them. The last came with servers all of which add and multiply in two
 * units of that width; with one, AVX2's kernels are as fast.
 */
const FEATURES = ["avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vbmi2"];

/** Whether that is a server's processor under a name that BLIS cannot place. */
export function isNamelessXeon(model: string): boolean {
  return /^Intel\(R\) Xeon\(R\) Processor(?! \w*-?\d)/.test(model);
}

/**
 * A program that tells by its exit code whether the processor has what those kernels want, and
 * whether a product of ones by them is right.
 */
const probe = (library: string): string => `
  const [, flags] = /^flags\\s*: (.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"));
  const has = new Set(flags.split(" "));
  if (!${JSON.stringify(FEATURES)}.every((feature) => has.has(feature))) Deno.exit(1);
  const { symbols } = Deno.dlopen(${JSON.stringify(library)}, { cblas_sgemm: { parameters: [
    ${'"i32", '.repeat(6)} "f32", "buffer", "i32", "buffer", "i32", "f32", "buffer", "i32"],
    result: "void" } });
  const a = new Float32Array(4096).fill(1), c = new Float32Array(4096);
  symbols.cblas_sgemm(101, 111, 111, 64, 64, 64, 1, a, 64, a, 64, 0, c, 64);
  Deno.exit(c.every((x) => x === 64) ? 0 : 1);`;

/**
 * Whether processor and library have them. Asked by a process of its own: Deno reads the processor's
 * features with all permissions alone, and the library ends a process that asks for kernels which it
 * lacks.
 */
function hasAvx512Kernels(library: string): boolean {
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", "--no-lock", probe(library)],
    env: { BLIS_ARCH_TYPE: AVX512.number, BLIS_ARCH_DEBUG: "1" },
    stdin: "null",
    stdout: "null",
  }).outputSync();
  return success && new TextDecoder().decode(stderr).includes(`'${AVX512.name}'`);
}

/**
 * Has BLIS take its AVX-512 kernels where it would not by itself. To be called before its first
 * product; takes some 60 ms on such a machine. What the user has set in `BLIS_ARCH_TYPE` stays; without
 * the permissions to run Deno, read the processor's name and set a variable nothing changes.
 *
 * @param library as it was opened
 * @returns whether it takes them for our sake
 */
export function preferAvx512Kernels(library: string): boolean {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") return false;
  if (!library.startsWith("libblis") || environment("BLIS_ARCH_TYPE") !== undefined) return false;
  try {
    if (Deno.permissions.querySync({ name: "run" }).state !== "granted") return false;
    if (!isNamelessXeon(cpus()[0]?.model ?? "") || !hasAvx512Kernels(library)) return false;
    Deno.env.set("BLIS_ARCH_TYPE", AVX512.number);
    return true;
  } catch {
    return false; // A permission is missing, or this is no program that can evaluate code.
  }
}
