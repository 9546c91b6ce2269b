/** Module files of a test, in a temporary folder. */

/** A temporary folder with files in it. */
export class TempModules implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Writes the files. */
  static async write(files: Record<string, string>): Promise<TempModules> {
    const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "reward test " }));
    for (const [name, text] of Object.entries(files)) {
      const path = `${folder}/${name}`;
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(path, text);
    }
    return new TempModules(folder);
  }

  /** Path of a file. */
  path(name: string): string {
    return `${this.folder}/${name}`;
  }

  /** Removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A batch of texts with further columns. */
export function batchOf(
  completions: string[],
  columns: Record<string, unknown[]> = {},
): { prompts: string[]; completions: string[]; columns: Record<string, unknown[]> } {
  return { prompts: completions.map(() => "?"), completions, columns };
}
