import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { indentWgsl } from "../../src/ops/trace_kernels.ts";
import { gpuTest } from "../gpu_adapter.ts";

const root = new URL("../../", import.meta.url);

/** Runs attention on a backend in a process of its own; what it prints to stderr. */
async function traceOf(
  backend: string,
  traced: string,
): Promise<{ success: boolean; stderr: string }> {
  const script = `
    import * as tf from "@tensorflow/tfjs";
    import { initBackend } from "${root.href}src/device/backend.ts";
    import { attention } from "${root.href}src/ops/attention/attention.ts";
    await initBackend({ backend: "${backend}" });
    for (let i = 0; i < 2; i++) {
      const x = tf.ones([1, 3, 2, 8]);
      await attention(x, x, x, null).data();
    }
    Deno.exit(0);
  `;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, script);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", "--config", `${root.pathname}deno.json`, file],
      env: { NANOVLM_TRACE_KERNELS: traced, NO_COLOR: "1" },
      stdin: "null",
      signal: AbortSignal.timeout(120_000),
    }).output();
    return { success, stderr: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("NANOVLM_TRACE_KERNELS=wasm prints each call of a wasm kernel with its arguments", async () => {
  const { success, stderr } = await traceOf("wasm", "wasm");
  assert(success, stderr);
  const calls = stderr.split("\n").filter((line) => line.startsWith("nano_attention("));
  assertEquals(calls.length, 2, stderr);
  assertStringIncludes(calls[0], "Tq=3, Tk=3, H=2, K=2, D=8");
});

gpuTest(
  "NANOVLM_TRACE_KERNELS=wgsl prints each WGSL program once, whole, with its name",
  async () => {
    const { success, stderr } = await traceOf("webgpu", "wgsl");
    assert(success, stderr);
    const programs = stderr.split("// WGSL program: ").slice(1);
    const attention = programs.filter((text) => text.startsWith("attention forward"));
    assertEquals(attention.length, 1, stderr);
    assertStringIncludes(attention[0], "@group(0) @binding(0)");
    assertStringIncludes(attention[0], "\nfn main(");
    assert(attention[0].trimEnd().endsWith("\n}"), attention[0]);
  },
);

Deno.test("an unknown value of NANOVLM_TRACE_KERNELS is refused", async () => {
  const { success, stderr } = await traceOf("wasm", "glsl");
  assert(!success);
  assertStringIncludes(stderr, 'NANOVLM_TRACE_KERNELS is "glsl", want wgsl, wasm or all');
});

Deno.test("indentWgsl() indents by open brackets", () => {
  const code = "fn f() {\n      if (a) {\nb(\nc\n);\n   } else {\n d; // {\n}\n\n}";
  const wanted = [
    "fn f() {",
    "  if (a) {",
    "    b(",
    "      c",
    "    );",
    "  } else {",
    "    d; // {",
    "  }",
    "}",
    "",
  ];
  assertEquals(indentWgsl(code), wanted.join("\n"));
});
