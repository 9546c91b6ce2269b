import { writeTextAtomically } from "../../atomic_write.ts";
import { RunFileError } from "./run_file_error.ts";

/** What to do if the output folder already holds a run. */
export type ExistingRun =
  /** Refuse, and say how to go on. */
  | "refuse"
  /** It is the run to go on with. */
  | "resume"
  /** Rename the old folder to `NAME-1`, `NAME-2`, … and start with an empty one. */
  | "move_aside";

/** The output folder already holds a run, and nothing says to continue it. */
export class RunExistsError extends Error {
  override readonly name = "RunExistsError";
}

/** The folder of a run and the names of what it holds. */
export class RunDirectory {
  /** The folder itself (training.output_dir). */
  readonly path: string;
  /** Where the old run went, if there was one and it was moved aside. */
  readonly movedAside: string | null;

  /** Whether the page says that the run has not begun. */
  #waits = false;

  private constructor(path: string, movedAside: string | null) {
    this.path = path;
    this.movedAside = movedAside;
  }

  /**
   * Makes the folder if it is missing, and checks at once whether it can be written.
   *
   * @param path training.output_dir
   * @param existing what to do if a run is there already
   * @throws {RunFileError} if the folder cannot be made or written
   * @throws {RunExistsError} if a run is there and `existing` is "refuse"
   */
  static open(path: string, existing: ExistingRun = "refuse"): RunDirectory {
    const found = traceOfRun(path);
    let movedAside: string | null = null;
    if (found !== null && existing === "refuse") {
      throw new RunExistsError(
        `Cannot start a new run in ${path}: it already holds a run (${found}); go on with it by ` +
          `--resume, choose another folder with --output-dir, or move the old one away`,
      );
    }
    if (found !== null && existing === "move_aside") movedAside = moveAside(path);
    makeFolder(path);
    probe(path);
    return new RunDirectory(path, movedAside);
  }

  /** Stands for no folder: for a process that writes no files. */
  static none(): RunDirectory {
    return new RunDirectory("", null);
  }

  /**
   * Undoes what open() did, if nothing was started: removes the folder if it is empty, and
   * puts the old run back in its place.
   */
  abandon(): void {
    try {
      if (this.#waits) Deno.removeSync(this.reportPath);
      Deno.removeSync(this.path);
      if (this.movedAside !== null) Deno.renameSync(this.movedAside, this.path);
    } catch {
      // Something is in it: it stays, and the old run stays where it was moved.
    }
  }

  /** The configuration as it was resolved, defaults included. */
  get configPath(): string {
    return `${this.path}/config.resolved.yaml`;
  }

  /** One JSON object a line for each measurement. */
  get metricsPath(): string {
    return `${this.path}/metrics.jsonl`;
  }

  /** One JSON object a line for each sampled completion. */
  get completionsPath(): string {
    return `${this.path}/completions.jsonl`;
  }

  /** The folder of TensorBoard's event files. */
  get tensorBoardPath(): string {
    return `${this.path}/runs`;
  }

  /** The page that shows the run. */
  get reportPath(): string {
    return `${this.path}/report.html`;
  }

  /**
   * The folder of a checkpoint.
   *
   * @param step the optimizer steps done
   */
  checkpointPath(step: number): string {
    return `${this.path}/checkpoint-${step}`;
  }

  /**
   * Writes a page that says that the run is being prepared, unless the run continues and has a page.
   * If that fails, there is none: the page of the run itself says why.
   *
   * @param html the page
   */
  async writeWaitingPage(html: string): Promise<void> {
    if (await Deno.stat(this.reportPath).then(() => true, () => false)) return;
    await writeTextAtomically(this.reportPath, html).then(() => this.#waits = true, () => {});
  }

  /**
   * Keeps the resolved configuration with the run.
   *
   * @param yaml the file's text
   * @throws {SaveError} if it cannot be written
   */
  async writeConfig(yaml: string): Promise<void> {
    await writeTextAtomically(this.configPath, yaml);
  }
}

/** The name of something that only a run leaves behind, or null. */
function traceOfRun(path: string): string | null {
  try {
    const names = [...Deno.readDirSync(path)].map((entry) => entry.name).sort();
    return names.findLast((name) => /^checkpoint-\d+$/.test(name)) ??
      names.find((name) => name === "metrics.jsonl") ?? null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new RunFileError("use the output folder", path, error);
  }
}

function makeFolder(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new RunFileError("make the output folder", path, error);
  }
}

/** Writes and removes a small file: permission bits alone do not tell what a disk will take. */
function probe(path: string): void {
  const file = `${path}/.write-test-${Deno.pid}`;
  try {
    Deno.writeFileSync(file, new Uint8Array(4096));
  } catch (error) {
    throw new RunFileError("write to the output folder", path, error);
  } finally {
    try {
      Deno.removeSync(file);
    } catch {
      // It was never made: the error above says why.
    }
  }
}

function moveAside(path: string): string {
  const plain = path.replace(/\/+$/, "");
  for (let attempt = 1;; attempt++) {
    const target = `${plain}-${attempt}`;
    try {
      Deno.lstatSync(target);
      continue;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw new RunFileError("move the old run to", target, error);
      }
    }
    try {
      Deno.renameSync(plain, target);
      return target;
    } catch (error) {
      throw new RunFileError("move the old run to", target, error);
    }
  }
}
