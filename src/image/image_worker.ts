/**
 * The program of a worker of {@linkcode ImageWorkers}: decodes, resizes and cuts the pictures that it
 * is sent, and hands the tiles over.
 *
 * @module
 */
import type { MessagePort } from "node:worker_threads";
import { augmentedPicture } from "./augment/augmented_picture.ts";
import type { AugmentationPlan } from "./augment/plan.ts";
import { ImageDecodeError } from "./image_header.ts";
import {
  ImageProcessor,
  type ImageProcessorOptions,
  type ProcessedImage,
} from "./image_processor.ts";

/** A picture to process. */
export interface ImageJob {
  /** Number of the job, repeated in the answer. */
  readonly id: number;
  /** The file. */
  readonly bytes: Uint8Array;
  /** What is done to the picture before; null or absent: nothing. */
  readonly plan?: AugmentationPlan | null;
}

/** The answer to a job. */
export type ImageAnswer =
  | { readonly id: number; readonly image: ProcessedImage }
  /** The picture cannot be decoded: the message of the `ImageDecodeError`. */
  | { readonly id: number; readonly unusable: string }
  /** The worker failed; the job is done on the main thread. */
  | { readonly id: number; readonly failed: string };

/** The first message of a worker: it is ready, or why it cannot start. */
export interface WorkerGreeting {
  readonly ready: boolean;
  readonly reason?: string;
}

/** Answers each job that comes through the port, as nanoVLM's image processor. */
export function serveImages(port: MessagePort, options: ImageProcessorOptions): void {
  serveProcessor(port, new ImageProcessor(options));
}

/** Answers each job that comes through the port. */
export function serveProcessor(
  port: MessagePort,
  processor: Pick<ImageProcessor, "process">,
): void {
  const answer = async ({ id, bytes, plan }: ImageJob): Promise<void> => {
    try {
      const image = await processor.process(plan ? await augmentedPicture(bytes, plan) : bytes);
      // The tiles' memory changes hands, it is not copied.
      port.postMessage(
        { id, image } satisfies ImageAnswer,
        [image.tiles.buffer as ArrayBuffer],
      );
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const said: ImageAnswer = error instanceof ImageDecodeError
        ? { id, unusable: message }
        : { id, failed: message };
      port.postMessage(said);
    }
  };
  // One after the other: a decoded picture takes far more memory than its file or its tiles.
  let last = Promise.resolve();
  port.on("message", (job: ImageJob) => {
    last = last.then(() => answer(job));
  });
  port.postMessage({ ready: true } satisfies WorkerGreeting);
}
