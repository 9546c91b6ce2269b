/** The built-in rewards: `builtin:NAME` is `reward_functions/NAME.ts` of this library. */

/** Source of a built-in module. @throws TypeError for a name that is not built in. */
export async function builtinSource(name: string): Promise<{ entry: URL; source: string }> {
  const entry = new URL(`../../reward_functions/${name}.ts`, import.meta.url);
  const source = await Deno.readTextFile(entry);
  return { entry, source };
}
