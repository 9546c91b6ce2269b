/** The parity fixtures, which lie beside the checkout and are not part of it. */
const url = new URL("../../../shared/fixtures/", import.meta.url);

/** Path of the fixtures folder, or null if this machine has none. */
export const fixturesDirectory: string | null = (() => {
  try {
    return Deno.statSync(url).isDirectory ? url.pathname.replace(/\/$/, "") : null;
  } catch {
    return null;
  }
})();

/** Registers a test that needs the fixtures; its name says so if they are missing. */
export function fixtureTest(name: string, run: (directory: string) => Promise<void>): void {
  const directory = fixturesDirectory;
  Deno.test({
    name: directory === null
      ? `${name} (skipped: no folder shared/fixtures beside the checkout)`
      : name,
    ignore: directory === null,
    fn: () => run(directory ?? ""),
  });
}
