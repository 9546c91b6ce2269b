/**
 * Stand-in for `jsr:@std/cli`: `parseArgs` as far as this project uses it, over `node:util`.
 *
 * @module
 */
import { parseArgs as nodeParseArgs } from "node:util";
