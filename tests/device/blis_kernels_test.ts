import { cpus } from "node:os";
import { assert, assertEquals } from "@std/assert";
import { findBlas } from "../../src/device/blas.ts";
import { isNamelessXeon } from "../../src/device/blis_kernels.ts";

Deno.test("isNamelessXeon() tells a server's processor under a name that says nothing", () => {
  assert(isNamelessXeon("Intel(R) Xeon(R) Processor"));
  assert(isNamelessXeon("Intel(R) Xeon(R) Processor @ 2.10GHz"));
  const named = [
    "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz",
    "Intel(R) Xeon(R) Processor E5-2680",
    "AMD EPYC 9654 96-Core Processor",
    "",
  ];
  for (const name of named) assert(!isNamelessXeon(name), name);
});

/** What a process of its own says of the BLAS: note, variable, and a product of ones. */
async function inProcess(
  env: Record<string, string>,
  ...flags: string[]
): Promise<{ note: string; variable: string | null; values: number[] }> {
  const blas = new URL("../../src/device/blas.ts", import.meta.url).href;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      file,
      `const { findBlas } = await import(${JSON.stringify(blas)});
      const blas = findBlas();
      const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
      const numbers = new Float32Array(memory.buffer);
      numbers.fill(1, 0, 2 * 64 * 64);
      blas.largeGemm(memory)(64, 64, 64, 0, 64, 1, 4 * 4096, 64, 1, 8 * 4096, 64, 0);
      const values = [...new Set(numbers.subarray(2 * 4096, 3 * 4096))];
      const variable = Deno.env.get("BLIS_ARCH_TYPE") ?? null;
      console.log(JSON.stringify({ note: blas.note, variable, values }));`,
    );
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...flags, file],
      clearEnv: true, // This process may have chosen for itself already.
      env: { ...inherited, ...env },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    await Deno.remove(file);
  }
}

const { BLIS_ARCH_TYPE: _, ...inherited } = Deno.env.toObject();
const found = findBlas();

Deno.test({
  name: "BLIS takes AVX-512 where it does not know the processor, and what the user set stays",
  ignore: !("library" in found) || !found.library.startsWith("libblis"),
  async fn() {
    const plain = ["--allow-read", "--allow-env", "--allow-ffi", "--allow-sys"];
    const without = await inProcess({}, ...plain);
    assertEquals(without, { note: "", variable: null, values: [64] }, "nothing may be run");
    const chosen = await inProcess({}, ...plain, "--allow-run");
    assertEquals(chosen.values, [64]);
    assertEquals(chosen.note !== "", chosen.variable === "0");
    if (!isNamelessXeon(cpus()[0].model)) assertEquals(chosen.note, "");
    const asked = await inProcess({ BLIS_ARCH_TYPE: "2" }, "-A").catch(() => null);
    // A library may lack those kernels; then it ends the process.
    if (asked !== null) assertEquals(asked, { note: "", variable: "2", values: [64] });
  },
});
