/**
 * Where the files of a data set are: on this machine or on the Hub.
 *
 * @module
 */
import { HubError } from "../../hub/hub_error.ts";
import { isDataHubId } from "../../hub/hub_id.ts";
import type { ConfigNames } from "../../hub/dataset_config.ts";
import { hubDataFiles } from "./hub_files.ts";
import { type DataFiles, localDataFiles } from "./open_source.ts";

/**
 * The files of a data set: local if there is such a path; else of the Hub, if the name may be an id.
 *
 * @param path a file, a folder or a Hub id
 * @param configs names of the data set's configurations
 * @param resolveFiles finds the files of a Hub id
 * @throws {HubError} if there is no such path and the Hub does not have it, or cannot be reached
 */
export async function findDataFiles(
  path: string,
  configs: ConfigNames = [],
  resolveFiles: (id: string, configs: ConfigNames) => Promise<DataFiles> = onHub,
): Promise<DataFiles> {
  if (isDataHubId(path) && !await exists(path)) {
    try {
      return await resolveFiles(path, configs);
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      const message =
        `Cannot load the data ${path}: there is no such file or folder here, and as ` +
        `a data set of the Hub: ${error.message}`;
      throw new HubError(error.kind, message, { cause: error });
    }
  }
  return await localDataFiles(path, { configs });
}

function onHub(id: string, configs: ConfigNames): Promise<DataFiles> {
  return hubDataFiles(id, { configs });
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false;
  }
}
