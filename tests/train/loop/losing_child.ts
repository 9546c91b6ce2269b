/**
 * Runs the command line, and takes the GPU device away once a file of its run is there:
 * `losing_child.ts FILE ARGUMENTS…`
 *
 * @module
 */
import { activeBackend } from "../../../src/device/backend.ts";
import { main } from "../../../tasks/main.ts";

const [file, ...args] = Deno.args;
const timer = setInterval(() => {
  try {
    Deno.statSync(file);
  } catch {
    return;
  }
  clearInterval(timer);
  activeBackend()?.device?.destroy();
}, 1);
const code = await main(args);
clearInterval(timer);
Deno.exit(code);
