import { formatNumber } from "./console_table.ts";
import { formatDuration } from "./duration.ts";
import { displayWidth, printable, truncateToWidth } from "./terminal_text.ts";

/** Where a run stands. */
export interface ProgressState {
  /** Optimizer steps done. */
  readonly step: number;
  /** The last step of the run. */
  readonly totalSteps: number;
  /** The loss last measured. */
  readonly loss?: number | null;
  /** The learning rate now. */
  readonly learningRate?: number | null;
  /** Speed over the last minute. */
  readonly tokensPerSecond?: number | null;
  /** Time left at that speed. */
  readonly secondsLeft?: number | null;
  /** Anything else worth a glance, as `reward 0.41`. */
  readonly note?: string;
}

/** The terminal, or what stands in for it in a test. */
export interface ProgressTerminal {
  /** Whether lines can be drawn over. */
  readonly interactive: boolean;
  /** The columns there are now. */
  columns(): number;
  /** Writes text as it is. */
  write(text: string): void;
}

/** Standard error: diagnostics never mix with what a command prints. */
export function standardErrorTerminal(): ProgressTerminal {
  const encoder = new TextEncoder();
  return {
    interactive: Deno.stderr.isTerminal(),
    columns: () => {
      try {
        return Deno.consoleSize().columns || 80;
      } catch {
        return 80;
      }
    },
    write: (text) => {
      const bytes = encoder.encode(text);
      try {
        for (let done = 0; done < bytes.length;) {
          done += Deno.stderr.writeSync(bytes.subarray(done));
        }
      } catch {
        // A closed pipe (`2>&1 | head`) must not end a training run.
      }
    },
  };
}

/**
 * The progress of a run: one line that is drawn again and again on a terminal, plain lines at the logging
 * steps elsewhere.
 */
export class Progress {
  readonly #label: string;
  readonly #terminal: ProgressTerminal;
  readonly #now: () => number;
  readonly #onExit = () => this.finish();
  #drawnAt = -Infinity;
  #drawn = false;
  #state: ProgressState | null = null;

  /**
   * @param label what runs, such as `sft`
   * @param terminal where to draw
   * @param now a clock in milliseconds; for tests
   */
  constructor(
    label: string,
    terminal: ProgressTerminal = standardErrorTerminal(),
    now: () => number = () => performance.now(),
  ) {
    this.#label = label;
    this.#terminal = terminal;
    this.#now = now;
    if (terminal.interactive) globalThis.addEventListener("unload", this.#onExit);
  }

  /** A step is done: draws the bar, ten times a second at most; nothing if lines are plain. */
  update(state: ProgressState): void {
    this.#state = state;
    if (!this.#terminal.interactive) return;
    const now = this.#now();
    if (now - this.#drawnAt < 100 && state.step < state.totalSteps) return;
    this.#drawnAt = now;
    this.#draw();
  }

  /**
   * A logging step: the bar on a terminal, a plain line elsewhere.
   *
   * @param state where the run stands
   * @param extra more to say on the plain line
   */
  log(state: ProgressState, extra = ""): void {
    this.#state = state;
    if (this.#terminal.interactive) {
      this.#draw();
      return;
    }
    const fields = [
      `step ${state.step}/${state.totalSteps} (${percent(state)})`,
      ...progressFields(state),
      ...(extra === "" ? [] : [extra]),
    ];
    this.#terminal.write(`${this.#label}: ${fields.join("  ")}\n`);
  }

  /** Prints lines for good, above the bar. */
  print(text: string): void {
    this.#clear();
    this.#terminal.write(text.endsWith("\n") ? text : text + "\n");
    if (this.#terminal.interactive && this.#state !== null) this.#draw();
  }

  /** Leaves the bar as it stands and gives the terminal back. */
  finish(): void {
    globalThis.removeEventListener("unload", this.#onExit);
    if (this.#drawn) this.#terminal.write("\n");
    this.#drawn = false;
    this.#state = null;
  }

  #draw(): void {
    if (this.#state === null) return;
    // The last column stays free: some terminals wrap if it is written.
    const line = progressLine(this.#label, this.#state, this.#terminal.columns() - 1);
    this.#terminal.write(`\r${line}\x1b[K`);
    this.#drawn = true;
  }

  #clear(): void {
    if (this.#drawn) this.#terminal.write("\r\x1b[K");
    this.#drawn = false;
  }
}

/**
 * One line of progress, cut to a width: the bar shrinks first, then fields are dropped from the right.
 *
 * @param label what runs
 * @param state where it stands
 * @param width the columns there are
 */
export function progressLine(label: string, state: ProgressState, width: number): string {
  const head = `${label} ${state.step}/${state.totalSteps} ${percent(state)}`;
  const fields = progressFields(state);
  // The remaining time matters most to readers: it is dropped last.
  const left = state.secondsLeft == null ? [] : [fields.pop() ?? ""];
  const lineOf = () => [head, ...fields, ...left].join("  ");
  while (fields.length > 0 && displayWidth(lineOf()) > width) fields.pop();
  const room = Math.min(30, width - displayWidth(lineOf()) - 2);
  const bar = room >= 5 ? [barOf(state, room)] : [];
  return truncateToWidth([head, ...bar, ...fields, ...left].join("  "), width);
}

function progressFields(state: ProgressState): string[] {
  const fields: string[] = [];
  if (state.loss != null) fields.push(`loss ${state.loss.toPrecision(4)}`);
  if (state.note !== undefined && state.note !== "") fields.push(printable(state.note));
  if (state.learningRate != null) fields.push(`lr ${state.learningRate.toExponential(1)}`);
  if (state.tokensPerSecond != null) {
    fields.push(`${formatNumber(Math.round(state.tokensPerSecond))} tokens/s`);
  }
  if (state.secondsLeft != null) fields.push(`${formatDuration(state.secondsLeft)} left`);
  return fields;
}

function percent(state: ProgressState): string {
  return `${Math.floor(100 * state.step / Math.max(1, state.totalSteps))}%`;
}

function barOf(state: ProgressState, columns: number): string {
  const share = Math.min(1, state.step / Math.max(1, state.totalSteps));
  const full = Math.floor(share * columns);
  return "━".repeat(full) + "─".repeat(columns - full);
}
