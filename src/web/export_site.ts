/**
 * `export web`: a folder of static files that runs a model in the visitor's browser.
 *
 * @module
 */
import { writeFolderAtomically } from "../atomic_write.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import { openPretrained } from "../model/files/pretrained_folder.ts";
import { openWeights } from "../model/files/weights.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type ExportDtype, exportWeights, sha256 } from "./export_weights.ts";
import { pageFiles } from "./page_files.ts";
import { PART_BYTES, SITE_FORMAT, type SiteManifest, type SitePart } from "./site_manifest.ts";

/** Choices of {@linkcode exportSite}. */
export interface ExportSiteOptions {
  /** How matrices are stored, `auto` by default. */
  readonly dtype?: ExportDtype;
  /** Most bytes of a part of the weights; default {@linkcode PART_BYTES}. */
  readonly partBytes?: number;
  /** What the page calls the model; default: the name of its folder. */
  readonly name?: string;
  /** Called with a line for each problem that is not an error. */
  readonly onWarning?: (text: string) => void;
  /** Cancels the export between two parts; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** What was written. */
export interface ExportedSite {
  /** Bytes of the page's files, each compressed by gzip, as hosts send them. */
  readonly pageBytes: number;
  /** Bytes of the model: weights, tokenizer, image settings. */
  readonly modelBytes: number;
  readonly parts: number;
  /** Weights that 16 bits do not hold exactly, of all {@linkcode ExportedSite.weights}. */
  readonly rounded: number;
  readonly weights: number;
}

/** @throws {Error} if there is a file in the folder that no export wrote: it would be lost */
async function requireOwnFolder(site: string, ours: readonly string[]): Promise<void> {
  let entries: Deno.DirEntry[];
  try {
    entries = await Array.fromAsync(Deno.readDir(site));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  const foreign = entries.find(({ name }) => !ours.includes(name));
  if (foreign === undefined) return;
  throw new Error(
    `Cannot export to ${site}: the folder is replaced as a whole and has a file that no export ` +
      `wrote, ${foreign.name}; give a new folder, or move that file away`,
  );
}

/** The texts of tokenizer and image processor by the names of their files. */
async function processingTexts(
  tokenizer: Tokenizer,
  imageProcessor: ImageProcessor,
): Promise<Map<string, string>> {
  const folder = await Deno.makeTempDir({ prefix: "nanovlm_export_" });
  try {
    await tokenizer.save(folder);
    await imageProcessor.save(folder);
    const texts = new Map<string, string>();
    for await (const { name } of Deno.readDir(folder)) {
      texts.set(name, await Deno.readTextFile(`${folder}/${name}`));
    }
    const ends = tokenizer.files.generationEnds ?? [];
    if (ends.length > 0 && !texts.has("generation_config.json")) {
      texts.set("generation_config.json", JSON.stringify({ eos_token_id: ends }));
    }
    return texts;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function compressedBytes(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

/**
 * Writes a site.
 *
 * @param model a model folder (nanoVLM, SmolVLM, Idefics3) or Hub id
 * @param site the folder to write: new, or an earlier export, which is replaced
 * @returns what was written
 * @throws {Error} if the model is an adapter or has no tokenizer, or the folder has other files
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function exportSite(
  model: string,
  site: string,
  options: ExportSiteOptions = {},
): Promise<ExportedSite> {
  const { dtype = "auto", partBytes = PART_BYTES, signal } = options;
  const name = options.name ?? model.replace(/[/\\]+$/, "").split(/[/\\]/).at(-1)!;
  const files = await pageFiles();
  await requireOwnFolder(site, [
    ...new Set([...files.keys(), "model/"].map((file) => file.split("/")[0])),
  ]);
  using opened = await openPretrained(model, { onWarning: options.onWarning });
  const { tokenizer, imageProcessor, config } = opened;
  if (opened.adapter !== null) {
    throw new Error(
      `Cannot export ${model}: it is an adapter; fold it into its base with the merge command and ` +
        "export the result",
    );
  }
  if (tokenizer === null) {
    throw new Error(`Cannot export ${model}: ${opened.tokenizerProblem}; put one into the folder`);
  }
  const texts = await processingTexts(tokenizer, imageProcessor);
  using weights = await openWeights(opened.folder, config);
  let exported: ExportedSite | undefined;
  await writeFolderAtomically(site, async (folder) => {
    for (const sub of ["wasm", "model"]) await Deno.mkdir(`${folder}/${sub}`);
    let pageBytes = 0;
    for (const [file, bytes] of files) {
      await Deno.writeFile(`${folder}/${file}`, bytes);
      pageBytes += await compressedBytes(bytes);
    }
    const write = async (file: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> => {
      signal?.throwIfAborted();
      await Deno.writeFile(`${folder}/model/${file}`, bytes);
    };
    const textParts: SitePart[] = [];
    for (const [file, text] of texts) {
      const bytes = new TextEncoder().encode(text);
      if (bytes.length === 0) continue;
      await write(file, bytes);
      textParts.push({ file, bytes: bytes.length, sha256: await sha256(bytes) });
    }
    const made = await exportWeights(
      weights.specs.map(({ name, shape }) => ({
        name,
        shape,
        read: () => weights.readPacked(name),
      })),
      { dtype, partBytes },
      write,
    );
    const manifest: SiteManifest = {
      format: SITE_FORMAT,
      name,
      config,
      texts: textParts,
      weights: made.parts,
    };
    await Deno.writeTextFile(
      `${folder}/model/model.json`,
      JSON.stringify(manifest, null, 1) + "\n",
    );
    exported = {
      pageBytes,
      modelBytes: textParts.reduce((sum, { bytes }) => sum + bytes, made.bytes),
      parts: made.parts.length,
      rounded: made.rounded,
      weights: made.count,
    };
  });
  return exported!;
}
