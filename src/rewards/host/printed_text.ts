/** Makes a module's text safe to show, and limits how much of it is shown. */
import { cleanLine } from "../../clean_text.ts";

export { cleanLine };

/** At most `lines` cleaned lines of the output; the last states how many were cut. */
export function cleanLines(printed: string[], lines = 20): string[] {
  const all = printed.flatMap((text) => text.split(/\r\n|\r|\n/, lines + 1))
    .map((line) => cleanLine(line)).filter((line) => line.trim() !== "");
  if (all.length <= lines) return all;
  return [...all.slice(0, lines), `… and ${all.length - lines} more lines`];
}

/** Lines of one module that a run shows. */
const PRINTED_LINES = 200;
/** Different refusals of one module that a run shows. */
const REFUSED_LINES = 50;

/**
 * Shows what a module prints and is refused, within a budget for the whole run. A module cannot fill
 * the log, nor push the trainer's own warnings out of it. Equal refusals are shown once.
 */
export class ModuleLog {
  readonly #write: (line: string) => void;
  readonly #kind: string;
  #printed = 0;
  #refused = new Set<string>();

  /** `write` gets each line; `kind` says what speaks: a reward, or another module. */
  constructor(write: (line: string) => void, kind = "reward") {
    this.#write = write;
    this.#kind = kind;
  }

  /** Shows lines under the name of a function or module. */
  tell(name: string, printed: readonly string[], refused: readonly string[]): void {
    const label = `${this.#kind} ${cleanLine(name, 80)}`;
    for (const line of printed) {
      if (this.#printed >= PRINTED_LINES) break;
      this.#write(`[${label}] ${cleanLine(line)}`);
      if (++this.#printed === PRINTED_LINES) {
        this.#write(`[${label}] … its further output is not shown`);
      }
    }
    for (const line of refused) {
      const shown = `${label} ${cleanLine(line)}`;
      if (this.#refused.has(shown) || this.#refused.size >= REFUSED_LINES) continue;
      this.#refused.add(shown);
      this.#write(shown);
      if (this.#refused.size === REFUSED_LINES) {
        this.#write(`${label}: its further refusals are not shown`);
      }
    }
  }
}
