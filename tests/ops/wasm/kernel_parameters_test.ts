import { assert, assertEquals, assertThrows } from "@std/assert";
import { kernelParameters } from "../../../kernels/signatures.ts";
import { kernelSources } from "../../../kernels/source_hash.ts";
import { argumentList } from "../../../src/ops/wasm/runtime/kernel_module.ts";
import { KERNEL_PARAMETERS } from "../../../src/ops/wasm/runtime/kernel_parameters.ts";
import { PLAIN_KERNELS } from "../../../src/ops/wasm/runtime/kernels_binary.ts";

Deno.test("the table of parameters is that of the C sources", async () => {
  const paths = (await kernelSources()).filter((path) => path.endsWith(".c"));
  const sources = await Promise.all(paths.map((path) => Deno.readTextFile(path)));
  const wanted: Record<string, readonly string[]> = kernelParameters(sources);
  assertEquals({ ...KERNEL_PARAMETERS } as Record<string, readonly string[]>, wanted);
});

Deno.test("every kernel of the module takes as many arguments as the table names", () => {
  const bytes = Uint8Array.from(atob(PLAIN_KERNELS), (c) => c.charCodeAt(0));
  const memory = new WebAssembly.Memory({ initial: 32 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory, large_gemm: () => 0 },
  });
  const lengths = Object.entries(exports).flatMap(([name, value]) =>
    typeof value === "function" ? [[name, value.length]] : []
  );
  const wanted = Object.entries(KERNEL_PARAMETERS).map(([name, names]) => [name, names.length]);
  assertEquals(Object.fromEntries(lengths), Object.fromEntries(wanted));
});

Deno.test("kernelParameters() reads names, and refuses an export without its function", () => {
  const source = `// EXPORT(no) is a comment (and so is this)
EXPORT(nano_a)
void nano_a(i32 n, const float *x, // the input
            float *y) {
}
EXPORT(nano_b) i32 nano_b(void) { return 1; }`;
  assertEquals(kernelParameters([source]), { nano_a: ["n", "x", "y"], nano_b: [] });
  assertThrows(() => kernelParameters(["EXPORT(nano_a) void other(i32 n) {}"]), Error, "nano_a");
});

Deno.test("argumentList() orders arguments, and refuses missing and foreign ones", () => {
  assertEquals(argumentList("nano_gelu", { y: 3, n: 1, x: 2 }), [1, 2, 3]);
  const names = "nano_gelu(n, x, y)";
  const refused: Record<string, number>[] = [{ n: 1, x: 2 }, { n: 1, x: 2, y: 3, z: 4 }, {
    ...{ n: 1, x: 2, out: 3 },
  }];
  for (const named of refused) {
    const error = assertThrows(() => argumentList("nano_gelu", named), TypeError, names);
    assert(error.message.includes(Object.keys(named).join(", ")));
  }
});
