import type { ProgressTerminal } from "../../../src/report/terminal/progress.ts";

/** Keeps what is written to it. */
export function fakeTerminal(interactive: boolean): ProgressTerminal & { text: string } {
  return {
    interactive,
    columns: () => 80,
    text: "",
    write(text: string) {
      this.text += text;
    },
  };
}
