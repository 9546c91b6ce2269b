/**
 * What a browser gets in place of `src/hub/model_folder.ts`: it has no folders, and loads its model
 * from the site.
 *
 * @module
 */

/** Never called: the files of a site are complete. */
export function resolveModelFolder(idOrPath: string): Promise<string> {
  return Promise.reject(
    new Error(`Cannot load ${idOrPath}: a page has no folders and asks no other host`),
  );
}
