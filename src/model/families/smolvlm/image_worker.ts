/**
 * The program of a thread that makes SmolVLM's tiles.
 *
 * @module
 */
import type { MessagePort } from "node:worker_threads";
import { serveProcessor } from "../../../image/image_worker.ts";
import { type SmolVLMImageOptions, SmolVLMImageProcessor } from "./image_processor.ts";

/** Answers each job that comes through the port. */
export function serveImages(port: MessagePort, options: SmolVLMImageOptions): void {
  serveProcessor(port, new SmolVLMImageProcessor(options));
}
