/**
 * Which model a file of results is about: the contents of its files, wherever they lie.
 *
 * @module
 */
import { fingerprintFiles } from "../../data/splits/fingerprint.ts";
import { resolveModelFolder } from "../../hub/model_folder.ts";

/** Files that decide what a model answers. */
const DECIDING =
  /^(config|preprocessor_config|processor_config|tokenizer|tokenizer_config|chat_template|adapter_config)\.json$|^chat_template\.jinja$|^(adapter_)?model[^/]*\.safetensors$/;

async function decidingFiles(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (DECIDING.test(name)) names.push(name);
  return names.sort().map((name) => `${folder}/${name}`);
}

/**
 * SHA-256 over the files of a model and its adapter.
 *
 * @param model a folder or Hub id
 * @param adapter a PEFT adapter's folder or Hub id
 * @throws {HubError} if one is neither, or cannot be fetched
 */
export async function modelFingerprint(
  model: string,
  adapter: string | undefined,
): Promise<string> {
  const folders = [model, ...(adapter === undefined ? [] : [adapter])];
  const files: string[] = [];
  for (const name of folders) files.push(...await decidingFiles(await resolveModelFolder(name)));
  return await fingerprintFiles(files, {});
}
