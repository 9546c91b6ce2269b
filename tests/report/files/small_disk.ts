/**
 * A real file system of 64 KiB or so, to be filled; needs Linux, root and the right to mount.
 *
 * @module
 */

async function succeeds(command: string, ...args: string[]): Promise<boolean> {
  try {
    const options = { args, stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}

async function withMount(options: string, use: (dir: string) => Promise<void>): Promise<boolean> {
  const dir = await Deno.makeTempDir();
  if (!await succeeds("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)) {
    await Deno.remove(dir);
    return false;
  }
  try {
    await use(dir);
  } finally {
    await succeeds("umount", dir);
    await Deno.remove(dir, { recursive: true });
  }
  return true;
}

/** Why tests of full and read-only disks are skipped; null if they run. */
export const whyNoDisk: string | null = await withMount("size=64k", () => Promise.resolve())
  ? null
  : "cannot mount a tmpfs here";

/** Runs a test on a small disk. */
export async function onSmallDisk(
  use: (dir: string) => Promise<void> | void,
  size = "64k",
): Promise<void> {
  await withMount(`size=${size}`, async (dir) => await use(dir));
}

/** Runs a test on a disk that cannot be written. */
export async function onReadOnlyDisk(use: (dir: string) => Promise<void> | void): Promise<void> {
  await withMount("size=64k,ro", async (dir) => await use(dir));
}

/** Fills a disk to the last byte. */
export function fillDisk(dir: string): void {
  const file = Deno.openSync(`${dir}/filler`, { write: true, create: true });
  const block = new Uint8Array(4096);
  try {
    for (;;) file.writeSync(block);
  } catch {
    // Full, as was wanted.
  } finally {
    file.close();
  }
}
