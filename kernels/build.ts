/**
 * Compiles `kernels/src/*.c` to WebAssembly, twice (with relaxed SIMD and without), checks that the
 * result may live on another module's heap, and writes it as `src/ops/wasm/runtime/kernels_binary.ts`.
 *
 * The compiler is Zig's clang, because it comes as a package everywhere: `pip install ziglang`
 * (then ZIG="python3 -m ziglang" is found by itself), or any `zig` on PATH.
 * @module
 */
import { kernelSourceHash, kernelSources } from "./source_hash.ts";
import { foreignSections } from "./check_module.ts";
import { kernelParameters } from "./signatures.ts";

const BASE_FEATURES = "mvp+simd128+bulk_memory+sign_ext+nontrapping_fptoint+mutable_globals";

async function compiler(): Promise<string[]> {
  const candidates = [Deno.env.get("ZIG")?.split(" "), ["zig"], ["python3", "-m", "ziglang"]];
  for (const command of candidates) {
    if (command === undefined) continue;
    try {
      const probe = new Deno.Command(command[0], { args: [...command.slice(1), "version"] });
      if ((await probe.output()).success) return command;
    } catch {
      // Not on this machine: the next one.
    }
  }
  throw new Error(
    "Cannot build the kernels: no Zig compiler found. `pip install ziglang`, or set ZIG to its command",
  );
}

async function compile(features: string): Promise<Uint8Array> {
  const [program, ...prefix] = await compiler();
  const output = await Deno.makeTempFile({ suffix: ".wasm" });
  try {
    const result = await new Deno.Command(program, {
      args: [
        ...prefix,
        "cc",
        "-target",
        "wasm32-freestanding",
        `-mcpu=${features}`,
        "-O3",
        "-ffp-contract=off",
        "-fno-builtin",
        "-nostdlib",
        "-Wall",
        "-Werror",
        "-Wl,--no-entry",
        "-Wl,--import-memory",
        "-Wl,--export=__stack_pointer",
        "-Wl,--strip-all",
        ...(await kernelSources()).filter((path) => path.endsWith(".c")),
        "-o",
        output,
      ],
    }).output();
    if (!result.success) {
      throw new Error(`The kernels do not compile:\n${new TextDecoder().decode(result.stderr)}`);
    }
    return await Deno.readFile(output);
  } finally {
    await Deno.remove(output);
  }
}

function base64Lines(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

async function main(): Promise<void> {
  const relaxed = await compile(`${BASE_FEATURES}+relaxed_simd`);
  const plain = await compile(BASE_FEATURES);
  for (const [name, bytes] of [["relaxed", relaxed], ["plain", plain]] as const) {
    const foreign = foreignSections(bytes);
    if (foreign.length > 0) {
      throw new Error(
        `The ${name} module would write over its host's heap: ${foreign.join("; ")}. ` +
          "Keep kernels free of globals, tables and constant arrays",
      );
    }
    console.error(`${name}: ${bytes.length} bytes`);
  }
  const folder = new URL("../src/ops/wasm/runtime/", import.meta.url);
  await Deno.writeTextFile(new URL("kernel_parameters.ts", folder), await parametersModule());
  await Deno.writeTextFile(
    new URL("kernels_binary.ts", folder),
    `// Made by \`deno task build-kernels\` from kernels/src; not edited by hand.
// deno-fmt-ignore-file

/** SHA-256 of the sources and the build script that made these bytes. */
export const KERNEL_SOURCE_HASH = "${await kernelSourceHash()}";

/** The module with relaxed SIMD (fused multiply-add), base64. */
export const RELAXED_KERNELS = "${base64Lines(relaxed)}";

/** The module with SIMD alone, base64. */
export const PLAIN_KERNELS = "${base64Lines(plain)}";
`,
  );
}

/** The table of parameters as a TypeScript module. */
async function parametersModule(): Promise<string> {
  const paths = (await kernelSources()).filter((path) => path.endsWith(".c"));
  const texts = await Promise.all(paths.map((path) => Deno.readTextFile(path)));
  const lines = Object.entries(kernelParameters(texts)).map(([name, parameters]) =>
    `  ${name}: [${parameters.map((parameter) => `"${parameter}"`).join(", ")}],`
  );
  return `// Made by \`deno task build-kernels\` from kernels/src; not edited by hand.
// deno-fmt-ignore-file

/** The parameters of every kernel, in the order in which it takes them, as its C source names them. */
export const KERNEL_PARAMETERS = {
${lines.join("\n")}
} as const;
`;
}

if (import.meta.main) await main();
