/**
 * The replacements of NanoVLM-Lab's Python modules.
 *
 * @module
 */

/** NanoVLM-Lab's own files, and the built-in modules that do the same. */
export const BUILT_IN_MODULES: ReadonlyMap<string, string> = new Map([
  ["dataset_preprocessing_sft.py", "builtin:dataset_preprocessing_sft"],
  ["dataset_preprocessing_dpo.py", "builtin:dataset_preprocessing_dpo"],
  ["dataset_preprocessing_grpo.py", "builtin:dataset_preprocessing_grpo"],
  ["reward_functions.py", "builtin:reward_functions"],
]);

/**
 * Why a Python module cannot be used, with the way out, or undefined if the path is no Python.
 *
 * @param key The key that names the module.
 * @param path Its value.
 */
export function pythonModuleProblem(key: string, path: string): string | undefined {
  if (!/\.py$/i.test(path.trim())) return undefined;
  const name = path.trim().split(/[\\/]/).pop() ?? "";
  const builtIn = BUILT_IN_MODULES.get(name);
  if (builtIn !== undefined) {
    return `got the Python module ${path}; its TypeScript replacement is built in: ` +
      `--set ${key}=${builtIn}`;
  }
  const replacement = path.trim().replace(/\.py$/i, ".ts");
  return `got the Python module ${path}, want a TypeScript one: export the same functions from ` +
    `${replacement} and give --set ${key}=${replacement}`;
}
