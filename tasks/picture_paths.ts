/**
 * The pictures that a command line names: paths, and patterns that stand for several.
 *
 * @module
 */
import { globToRegExp } from "../src/hub/glob.ts";
import { UsageError } from "./usage_error.ts";

/** Which pictures a prompt is asked about. */
export interface PromptPictures {
  /** The pictures of each prompt, in order. Without pictures: one prompt with none. */
  readonly prompts: readonly (readonly string[])[];
  /** Whether a pattern was given: each of its pictures has a prompt of its own. */
  readonly isPattern: boolean;
}

/** Whether a path stands for several: it has `*`, `?` or a set, and no file has that very name. */
async function isPattern(path: string): Promise<boolean> {
  if (!/[*?[{]/.test(path)) return false;
  return !await Deno.stat(path).then(() => true, () => false);
}

/** Files below `folder` that a pattern matches; folders are entered as deep as the pattern is. */
async function filesBelow(
  folder: string,
  matches: RegExp,
  depth: number,
  found: string[],
): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(folder === "" ? "." : folder)) {
    const path = folder === "" || folder.endsWith("/") ? folder + name : `${folder}/${name}`;
    if (isDirectory) {
      if (depth > 1) await filesBelow(path, matches, depth - 1, found);
    } else if (matches.test(path)) found.push(path);
  }
}

/** Deepest folders that `**` enters. */
const MOST_DEPTH = 16;

/**
 * The files of a pattern, in the order of their names.
 *
 * @throws {UsageError} if there is none
 */
async function expand(pattern: string): Promise<string[]> {
  const parts = pattern.split("/");
  const first = parts.findIndex((part) => /[*?[{]/.test(part));
  const fixed = parts.slice(0, first).join("/");
  const folder = first > 0 && fixed === "" ? "/" : fixed;
  const depth = pattern.includes("**") ? MOST_DEPTH : parts.length - first;
  const found: string[] = [];
  try {
    await filesBelow(folder, globToRegExp(pattern), depth, found);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (!missing) throw error;
    throw new UsageError(`--image ${pattern}: there is no folder ${folder}`);
  }
  if (found.length === 0) throw new UsageError(`--image ${pattern}: no file has such a name`);
  return found.sort();
}

/**
 * The prompts that `--image` asks for.
 *
 * @param images what was given: paths, or one pattern such as `pictures/*.png`
 * @throws {UsageError} if a pattern matches nothing or stands beside other pictures
 */
export async function promptPictures(images: readonly string[]): Promise<PromptPictures> {
  for (const path of images) {
    if (!await isPattern(path)) continue;
    if (images.length > 1) {
      throw new UsageError(
        `--image ${path} asks about one picture after the other; it cannot stand beside others`,
      );
    }
    return { prompts: (await expand(path)).map((file) => [file]), isPattern: true };
  }
  return { prompts: [images], isPattern: false };
}
