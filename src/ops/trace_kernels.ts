/**
 * Prints the kernels that a run uses, to stderr, if `NANOVLM_TRACE_KERNELS` says so: `wgsl` prints
 * every WGSL program once, whole, with its name, those of tfjs included; `wasm` prints every call of
 * a wasm kernel with its arguments; `all` prints both.
 *
 * @module
 */
import { environment } from "../device/thread_count.ts";

/** What can be traced. */
type TracedKernels = "wgsl" | "wasm";

const VARIABLE = "NANOVLM_TRACE_KERNELS";

let wanted: string | null = null;

/**
 * Whether kernels of that kind are printed.
 *
 * @throws {TypeError} if the environment variable has an unknown value
 */
export function isTraced(kind: TracedKernels): boolean {
  if (wanted === null) {
    wanted = environment(VARIABLE) ?? "";
    if (!["", "wgsl", "wasm", "all"].includes(wanted)) {
      const value = wanted;
      wanted = "";
      throw new TypeError(
        `Cannot trace kernels: ${VARIABLE} is "${value}", want wgsl, wasm or all`,
      );
    }
  }
  return wanted === kind || wanted === "all";
}

/** WGSL with one indentation for each open bracket, whatever it was put together from. */
export function indentWgsl(code: string): string {
  let depth = 0;
  const lines: string[] = [];
  for (const line of code.split("\n").map((line) => line.trim())) {
    if (line === "") continue;
    const closing = /^[})\]]*/.exec(line)![0].length;
    lines.push("  ".repeat(Math.max(0, depth - closing)) + line);
    const text = line.replace(/\/\/.*$/, "");
    depth += (text.match(/[{([]/g)?.length ?? 0) - (text.match(/[})\]]/g)?.length ?? 0);
  }
  return lines.join("\n") + "\n";
}

const printed = new Set<string>();

/** Prints each program that is compiled on the device, the first time. */
export function traceShaders(device: GPUDevice): void {
  const create = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => {
    const { code, label = "unnamed" } = descriptor;
    if (!printed.has(code)) console.error(`// WGSL program: ${label}\n${indentWgsl(code)}`);
    printed.add(code);
    return create(descriptor);
  };
}

/** Prints a call of a wasm kernel. */
export function traceWasm(kernel: string, named: Readonly<Record<string, number>>): void {
  const list = Object.entries(named).map(([name, value]) => `${name}=${value}`);
  console.error(`${kernel}(${list.join(", ")})`);
}
