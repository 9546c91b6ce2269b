import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";
import { RunFileError } from "../files/run_file_error.ts";
import { encodeEvent, type EventContent } from "./event_message.ts";
import { frameRecord } from "./record_frame.ts";

/** Writes a TensorBoard event file with the run's scalars and its config as text. */
export class TensorBoardWriter {
  /** The event file. */
  readonly path: string;
  readonly #file: Deno.FsFile;
  readonly #now: () => number;
  #length = 0;

  /**
   * Starts a new event file; earlier ones of the run stay beside it.
   *
   * @param dir the folder, made where it is not there
   * @param resumedFromStep TensorBoard is told to forget what earlier files say after this step
   * @param now the time in milliseconds since 1970; for tests
   * @throws {RunFileError} if the file cannot be made
   */
  constructor(dir: string, resumedFromStep?: number, now: () => number = Date.now) {
    this.#now = now;
    try {
      Deno.mkdirSync(dir, { recursive: true });
      [this.path, this.#file] = createEventFile(dir, now());
    } catch (error) {
      throw new RunFileError("make a TensorBoard event file in", dir, error);
    }
    this.#write(0, { kind: "version" });
    if (resumedFromStep !== undefined) this.#write(resumedFromStep + 1, { kind: "sessionStart" });
  }

  /**
   * Writes a record's finite numbers under the tags that Transformers gives them: `eval_loss`
   * becomes `eval/loss`, everything else `train/…`.
   *
   * @throws {RunFileError} if it cannot be written
   */
  write(record: MetricsRecord): void {
    const values = numericMetrics(record).map(([name, value]) =>
      [tensorBoardTag(name), value] as const
    );
    if (values.length > 0) this.#write(record.step, { kind: "scalars", values });
  }

  /**
   * Writes a text, shown as Markdown.
   *
   * @param tag its name
   * @param text Markdown
   * @param step the step it belongs to
   * @throws {RunFileError} if it cannot be written
   */
  writeText(tag: string, text: string, step = 0): void {
    this.#write(step, { kind: "text", tag, text });
  }

  /** Syncs and closes the file. */
  close(): void {
    try {
      this.#file.syncDataSync();
    } catch (error) {
      throw new RunFileError("write TensorBoard events to", this.path, error);
    } finally {
      this.#file.close();
    }
  }

  #write(step: number, content: EventContent): void {
    const bytes = frameRecord(encodeEvent(this.#now() / 1000, step, content));
    try {
      for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
      this.#length += bytes.length;
    } catch (error) {
      this.#file.truncateSync(this.#length);
      this.#file.seekSync(this.#length, Deno.SeekMode.Start);
      throw new RunFileError("write TensorBoard events to", this.path, error);
    }
  }
}

/**
 * The tag TensorBoard shows a metric under.
 *
 * @param name the metric's name in metrics.jsonl
 */
export function tensorBoardTag(name: string): string {
  return name.startsWith("eval_") ? `eval/${name.slice("eval_".length)}` : `train/${name}`;
}

/** TensorBoard reads a folder's files in the order of their names. */
function createEventFile(dir: string, nowMs: number): [string, Deno.FsFile] {
  const seconds = String(Math.floor(nowMs / 1000)).padStart(10, "0");
  for (let attempt = 0;; attempt++) {
    const count = String(attempt).padStart(3, "0");
    const path = `${dir}/events.out.tfevents.${seconds}.nanovlm.${count}`;
    try {
      return [path, Deno.openSync(path, { write: true, createNew: true })];
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}
