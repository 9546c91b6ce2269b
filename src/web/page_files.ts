/**
 * The files of an exported site that are the same for every model.
 *
 * @module
 */
import { sha256 } from "./export_weights.ts";

const encoder = new TextEncoder();

async function unpack(base64: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([Uint8Array.fromBase64(base64)]).stream()
    .pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What `nanovlm_web.ts` exports, for `nanovlm-web.d.ts`. */
const LOAD_MODEL = `
/**
 * Loads a model in a worker of this page.
 *
 * @throws {Error} if files are missing or damaged, or the backend that is asked for cannot start
 */
export declare function loadModel(options?: LoadOptions): Promise<WebModel>;
`;

/** The texts of the page, as they stand in `page/`. */
async function pageTexts(): Promise<Record<string, string>> {
  const [html, style, script, types] = await Promise.all([
    import("./page/index.html", { with: { type: "text" } }),
    import("./page/page.css", { with: { type: "text" } }),
    import("./page/page.js", { with: { type: "text" } }),
    import("./web_api.ts", { with: { type: "text" } }),
  ]);
  return {
    "index.html": html.default,
    "page.css": style.default,
    "page.js": script.default,
    "nanovlm-web.d.ts": types.default + LOAD_MODEL,
  };
}

/**
 * The files by their names in the site.
 *
 * @returns new bytes each time
 */
export async function pageFiles(): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const { WEB_MODULES } = await import("./web_modules.ts"); // Large, and of use here alone.
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, text] of Object.entries(await pageTexts())) {
    files.set(name, encoder.encode(text));
  }
  for (const [name, packed] of Object.entries(WEB_MODULES)) files.set(name, await unpack(packed));
  files.set("service-worker.js", await serviceWorker(files));
  return files;
}

/** The service worker, with the names of the files and a version that changes with any of them. */
async function serviceWorker(
  files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
): Promise<Uint8Array<ArrayBuffer>> {
  const { default: script } = await import("./page/service_worker.js", { with: { type: "text" } });
  const sums = [script];
  for (const bytes of files.values()) sums.push(await sha256(bytes));
  const version = (await sha256(encoder.encode(sums.join(" ")))).slice(0, 16);
  const names = JSON.stringify([...files.keys()].filter((name) => !name.endsWith(".d.ts")));
  return encoder.encode(`const VERSION = "${version}", FILES = ${names};\n${script}`);
}
