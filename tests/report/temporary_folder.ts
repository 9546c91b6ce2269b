/** Runs a test in a folder of its own, removed after it. */
export async function inTemporaryFolder(
  use: (dir: string) => Promise<void> | void,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
