/**
 * Which tokenizer a saved config.json names.
 *
 * @module
 */
import { resolve } from "node:path";
import { folderOf, writeTextAtomically } from "../../atomic_write.ts";

/**
 * Names the tokenizer that is saved beside a model in its config.json, if the config names one that
 * Python cannot load: nanoVLM gives `lm_tokenizer` to `AutoTokenizer.from_pretrained`, which knows
 * neither `builtin:…` nor a folder of another machine. Folders are read here without this key: their
 * own tokenizer.json comes first. After moving a folder, set the key
 * again to load it with Python.
 *
 * @param folder with config.json and tokenizer.json; may still have its temporary name
 */
export async function nameOwnTokenizer(folder: string): Promise<void> {
  const path = `${folder}/config.json`;
  let text: string;
  try {
    await Deno.stat(`${folder}/tokenizer.json`);
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  const named: unknown = JSON.parse(text).lm_tokenizer;
  if (typeof named !== "string" || !/^(?:builtin:|\/|[A-Za-z]:[\\/])/.test(named)) return;
  const own = JSON.stringify(resolve(folderOf(folder)));
  const changed = text.replace(/("lm_tokenizer":\s*)"(?:[^"\\]|\\.)*"/, (_, key) => key + own);
  await writeTextAtomically(path, changed);
}
