import { defaultClient, type DownloadProgress } from "./download_file.ts";
import { downloadSnapshot } from "./download_snapshot.ts";
import { checkPath } from "./hub_cache.ts";
import type { HubClient } from "./hub_client.ts";
import { HubError } from "./hub_error.ts";
import { parseHubId } from "./hub_id.ts";

/** Small files of a model folder that are downloaded if they exist. */
const SIDE_FILES = new Set([
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
  "adapter_config.json",
  "adapter_model.safetensors",
]);

/** How to find a model. */
export interface ResolveModelOptions {
  /** Branch, tag or commit; default what stands after `@` in the id, else `main`. */
  readonly revision?: string;
  /** Without the weights: a tokenizer or a config alone. */
  readonly weights?: boolean;
  /** The Hub to use; default: as the environment says. */
  readonly client?: HubClient;
  /** Called with the progress of each file. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/**
 * The local folder of a model: a folder as it is, the final model of a run's folder, or a Hub id (`owner/name`, `owner/name@revision`)
 * downloaded into the cache: config, tokenizer, and safetensors, whole or in shards.
 *
 * @throws {HubError} if it is neither, or cannot be fetched
 */
export async function resolveModelFolder(
  idOrPath: string,
  options: ResolveModelOptions = {},
): Promise<string> {
  if (await isFolder(idOrPath)) return await modelOfRun(idOrPath);
  const id = parseHubId(idOrPath);
  if (id === null) {
    throw new HubError(
      "not found",
      `Cannot load the model ${idOrPath}: there is no such folder, and it is not a Hub id (owner/name)`,
    );
  }
  const client = options.client ?? defaultClient();
  const { weights = true, onProgress } = options;
  let names: string[] = [];
  const folder = await downloadSnapshot({
    repo: id.repo,
    type: "model",
    revision: checkPath(options.revision ?? id.revision ?? "main"),
    client,
    onProgress,
    patterns: (paths) => {
      names = paths.filter((path) =>
        SIDE_FILES.has(path) || (weights && /^model.*\.safetensors(\.index\.json)?$/.test(path))
      );
      if (names.includes("model.safetensors")) {
        names = names.filter((name) => name === "model.safetensors" || SIDE_FILES.has(name));
      }
      return names;
    },
  });
  const hasWeights = names.some((name) => name.endsWith(".safetensors"));
  if (weights && !hasWeights) {
    throw new HubError(
      "not found",
      `Cannot load the model ${idOrPath}: it has no model.safetensors; other weight formats are ` +
        `not read, convert it with Transformers' save_pretrained`,
    );
  }
  return folder;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false;
  }
}

/** Whether a folder has a model's or an adapter's config. */
async function hasModel(folder: string): Promise<boolean> {
  const isFile = (name: string) =>
    Deno.stat(`${folder}/${name}`).then((info) => info.isFile, () => false);
  return await isFile("config.json") || await isFile("adapter_config.json");
}

/** `final_model` in the output folder of a run; any other folder as it is. */
async function modelOfRun(folder: string): Promise<string> {
  const isRun = await Deno.stat(`${folder}/config.resolved.yaml`).then(() => true, () => false);
  if (!isRun || await hasModel(folder)) return folder;
  const final = `${folder.replace(/[/\\]+$/, "")}/final_model`;
  if (await hasModel(final)) return final;
  const steps: number[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
    if (step !== undefined) steps.push(Number(step));
  }
  const checkpoint = steps.length === 0
    ? "it has no checkpoint either"
    : `give its newest checkpoint, ${folder}/checkpoint-${Math.max(...steps)}`;
  throw new HubError(
    "not found",
    `Cannot load the model ${folder}: it is the folder of a run that has not ended, without ` +
      `final_model; ${checkpoint}`,
  );
}
