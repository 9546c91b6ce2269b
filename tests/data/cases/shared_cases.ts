/** The folder of small inputs with known right values, if this checkout has it. */
export const CASES = new URL("../../../../shared/cases/", import.meta.url).pathname;

const missing = (() => {
  try {
    return !Deno.statSync(CASES).isDirectory;
  } catch {
    return true;
  }
})();

/** A test on the shared inputs; skipped with the reason if they are not there. */
export function caseTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: missing ? `${name} (skipped: no shared/cases)` : name, ignore: missing, fn });
}
