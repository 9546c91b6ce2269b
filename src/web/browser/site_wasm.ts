/**
 * The WebAssembly files beside the worker's module, in `wasm/`.
 *
 * @module
 */

/** Names of the files in `wasm/`. */
export const WASM_FILES = [
  "tfjs-backend-wasm-simd.wasm",
  "png.wasm",
  "jpeg.wasm",
  "gif.wasm",
  "webp.wasm",
] as const;

/** Address of the folder. */
export const wasmFolder: string = new URL("./wasm/", import.meta.url).href;

const modules = new Map<string, Promise<WebAssembly.Module>>();

/**
 * Fetches and compiles a file, once.
 *
 * @throws {Error} if the host does not have it
 */
export function siteWasm(file: typeof WASM_FILES[number]): Promise<WebAssembly.Module> {
  let known = modules.get(file);
  if (known === undefined) {
    known = compile(file);
    known.catch(() => modules.delete(file));
    modules.set(file, known);
  }
  return known;
}

async function compile(file: string): Promise<WebAssembly.Module> {
  const address = wasmFolder + file;
  const response = await fetch(address);
  if (!response.ok) {
    throw new Error(
      `Cannot load ${address}: the server answered ${response.status}; upload the whole folder ` +
        'that "export web" wrote',
    );
  }
  // Not while streaming: that needs a host that knows the type of the file.
  return await WebAssembly.compile(await response.arrayBuffer());
}
