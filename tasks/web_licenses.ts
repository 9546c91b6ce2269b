/**
 * The licenses of the packages whose code an exported site has, as one text.
 *
 * @module
 */
import { dirname, join } from "node:path";

/** A package as installed. */
interface InstalledPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly license: string;
  /** Its license files, one after another; empty if it has none. */
  readonly text: string;
}

/** The folder of the package that a file belongs to: the nearest with a named package.json. */
export async function packageFolder(file: string): Promise<string> {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const found = JSON.parse(await Deno.readTextFile(join(folder, "package.json")));
      // Builds have small ones of their own, without a name.
      if (typeof found.name === "string" && typeof found.version === "string") return folder;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(`Cannot name the package of ${file}: no folder above it has a package.json`);
}

async function readPackage(folder: string): Promise<InstalledPackage> {
  const { name, version, license } = JSON.parse(
    await Deno.readTextFile(join(folder, "package.json")),
  );
  const names = (await Array.fromAsync(Deno.readDir(folder)))
    .flatMap((entry) => entry.isFile ? [entry.name] : [])
    .filter((file) => /^(licen[cs]e|notice|copying)(\.|$)/i.test(file))
    // Of a choice of licenses, MIT is taken.
    .filter((file, _, all) => /\.mit$/i.test(file) || !all.some((other) => /\.mit$/i.test(other)))
    .sort();
  const texts = await Promise.all(names.map((file) => Deno.readTextFile(join(folder, file))));
  return { name, version, license, text: texts.map((text) => text.trim()).join("\n\n") };
}

/**
 * Names each package with its version and license, and gives each license's text once.
 *
 * @param folders of the packages
 */
export async function licensesText(folders: Iterable<string>): Promise<string> {
  const packages = (await Promise.all([...new Set(folders)].map(readPackage)))
    .sort((a, b) => a.name < b.name ? -1 : 1);
  const byText = new Map<string, InstalledPackage[]>();
  for (const one of packages) byText.set(one.text, [...byText.get(one.text) ?? [], one]);
  const title = ({ name, version, license }: InstalledPackage) => `${name} ${version}: ${license}`;
  const parts = [...byText].map(([text, those]) => {
    const names = those.map(title).join("\n");
    return text === ""
      ? `${names}\n\nThese packages name their license and have no file with its text; it is at ` +
        "https://spdx.org/licenses/."
      : `${names}\n\n${text}`;
  });
  return ["This site has code of the packages below.", ...parts].join(`\n\n${"-".repeat(80)}\n\n`) +
    "\n";
}
