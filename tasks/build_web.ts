/**
 * Bundles the modules of `src/web/browser` for `export web`, and writes them and the WebAssembly of
 * packages as `src/web/web_modules.ts`. Run by `deno task build-web` after a change to code that runs in the
 * page; a test says when.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { licensesText, packageFolder } from "./web_licenses.ts";
import { WASM_FILES } from "../src/web/browser/site_wasm.ts";

const root = new URL("../", import.meta.url);

/** What a browser gets in place of modules that need Deno. */
const REPLACED: Readonly<Record<string, string>> = {
  "src/device/thread_count.ts": "src/web/browser/thread_count.ts",
  "src/device/products/blas.ts": "src/web/browser/blas.ts",
  "src/ops/wasm/runtime/spawn_kernel_thread.ts": "src/web/browser/spawn_kernel_thread.ts",
  "src/hub/model_folder.ts": "src/web/browser/model_folder.ts",
  "src/image/decoders/raster_decoder.ts": "src/web/browser/raster_decoder.ts",
  "src/image/decoders/webp_decoder.ts": "src/web/browser/webp_decoder.ts",
};

/** The modules to bundle, by their names in the site. */
const ENTRIES: Readonly<Record<string, string>> = {
  "nanovlm-web.js": "src/web/browser/nanovlm_web.ts",
  "nanovlm-worker.js": "src/web/browser/worker.ts",
};

/** An import map for the bundler: that of deno.json, with the replacements. */
async function importMap(): Promise<{ imports: Record<string, string> }> {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as {
    imports: Record<string, string>;
  };
  const at = (path: string) => new URL(path, root).href;
  const replaced = Object.entries(REPLACED).map(([from, to]) => [at(from), at(to)]);
  return {
    imports: {
      ...imports,
      "@tensorflow/tfjs": at("src/web/browser/tfjs.ts"),
      ...Object.fromEntries(replaced),
    },
  };
}

/** The modules of a site, and the folders of the packages that are in them. */
export interface BundledWeb {
  /** Texts by the names in the site. */
  readonly texts: ReadonlyMap<string, string>;
  readonly packages: ReadonlySet<string>;
}

/**
 * Folders of the packages whose code is in a bundle. Its source map has the paths of the packages'
 * own maps, in which a scope and a version may be missing; the module graph has both, but also what
 * the bundler dropped.
 */
async function packagesIn(bundle: string, entry: string, map: string): Promise<string[]> {
  const { sources } = JSON.parse(await Deno.readTextFile(`${bundle}.map`)) as { sources: string[] };
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--import-map", map, entry],
    cwd: root,
  }).output();
  const { npmPackages } = JSON.parse(new TextDecoder().decode(stdout)) as {
    npmPackages: Record<string, { name: string; localPath: string }>;
  };
  return Object.values(npmPackages).flatMap(({ name, localPath }) => {
    const folder = `/${name.split("/").at(-1)}/`;
    // Packages of types alone have no code.
    if (name.startsWith("@types/")) return [];
    return sources.some((source) => source.includes(folder)) ? [localPath] : [];
  });
}

/**
 * Bundles the modules.
 *
 * @throws {Error} if the bundler fails; it is fetched from npm when it runs for the first time
 */
export async function bundleWeb(): Promise<BundledWeb> {
  const folder = await Deno.makeTempDir({ prefix: "nanovlm_web_" });
  try {
    const map = `${folder}/import_map.json`;
    await Deno.writeTextFile(map, JSON.stringify(await importMap()));
    const texts = new Map<string, string>(), packages = new Set<string>();
    for (const [name, entry] of Object.entries(ENTRIES)) {
      const output = `${folder}/${name}`;
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        // deno-fmt-ignore
        args: [
          "bundle", "--quiet", "--platform", "browser", "--minify", "--sourcemap", "external", "--import-map", map,
          "--output", output, entry,
        ],
        cwd: root,
      }).output();
      if (!success) {
        throw new Error(`Cannot bundle ${entry}:\n${new TextDecoder().decode(stderr)}`);
      }
      texts.set(name, await Deno.readTextFile(output));
      for (const folder of await packagesIn(output, entry, map)) packages.add(folder);
    }
    return { texts, packages };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Where the WebAssembly of packages is, by its name in the site. */
const WASM_SOURCES: Readonly<Record<typeof WASM_FILES[number], string>> = {
  "tfjs-backend-wasm-simd.wasm": "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
  "png.wasm": "imagescript/wasm/any/png.wasm",
  "jpeg.wasm": "imagescript/wasm/any/jpeg.wasm",
  "gif.wasm": "imagescript/wasm/any/gif.wasm",
  "webp.wasm": "@cwasm/webp/webp.wasm",
};

/**
 * The WebAssembly of packages. It is imported here and not by the exporter, because imports of bytes
 * need a flag; and by a specifier in a variable, because the type checker reads others as text.
 */
async function wasmFiles(): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const name of WASM_FILES) {
    const specifier = WASM_SOURCES[name];
    const module = await import(specifier, { with: { type: "bytes" } });
    files.set(`wasm/${name}`, module.default);
  }
  return files;
}

/** gzip, without a time in it: the same bytes for the same text. */
async function packed(content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const stream = new Blob([content]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer()).toBase64();
}

if (import.meta.main) {
  const lines: string[] = [];
  const { texts, packages } = await bundleWeb();
  const sources = Object.values(WASM_SOURCES).map((name) =>
    fileURLToPath(import.meta.resolve(name))
  );
  const licenses = await licensesText([
    ...packages,
    ...await Promise.all(sources.map(packageFolder)),
  ]);
  const files = [...texts, ...await wasmFiles(), ["licenses.txt", licenses] as const];
  for (const [name, content] of files) {
    const base64 = await packed(content);
    console.error(
      `${name}: ${content.length} bytes, ${Math.round(base64.length * 3 / 4)} compressed`,
    );
    lines.push(`  "${name}": "${base64}",`);
  }
  await Deno.writeTextFile(
    new URL("src/web/web_modules.ts", root),
    `// Made by \`deno task build-web\` from src/web/browser; not edited by hand.
// deno-fmt-ignore-file
// deno-lint-ignore-file

/** Modules and WebAssembly of an exported site by their names, compressed by gzip, base64. */
export const WEB_MODULES: Readonly<Record<string, string>> = {
${lines.join("\n")}
};
`,
  );
}
