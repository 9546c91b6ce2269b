/**
 * Folders that are wholly there or not at all; they live in `src/atomic_write.ts`, since models
 * and adapters are saved so too.
 *
 * @module
 */

export {
  explainWriteError,
  recoverFolder,
  recoverFolders,
  SaveError,
  writeFileAtomically,
  writeFolderAtomically,
  type WriteFolderOptions,
  writeTextAtomically,
} from "../atomic_write.ts";
