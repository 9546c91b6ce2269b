/**
 * Stand-in for `jsr:@std/cli`, for machines that cannot reach JSR: the export that this project
 * uses.
 *
 * @module
 */
export { type Args, parseArgs, type ParseOptions } from "./parse_args.ts";
