/** Finds sealed frames in the output of a child; all other bytes are output of its module. */
import { FRAME_HEADER_BYTES } from "../child/frames.ts";

/** Callbacks of {@linkcode FrameReader}. */
export interface FrameEvents {
  /** A frame's sealed part. It is checked when it is opened. */
  sealed(part: Uint8Array<ArrayBuffer>): void;
  /** Bytes that are not part of a frame. */
  noise(bytes: Uint8Array): void;
}

/** Takes chunks of any size and emits frames and noise in order. */
export class FrameReader {
  #magic: Uint8Array;
  #events: FrameEvents;
  #chunks: Uint8Array[] = [];
  #length = 0;
  /** Number of buffered bytes at which to search again. */
  #want: number;
  /** Largest sealed part. The owner lowers it to what it can expect. */
  maxFrameBytes = 1 << 30;

  constructor(magic: Uint8Array, events: FrameEvents) {
    this.#magic = magic;
    this.#events = events;
    this.#want = 1;
  }

  /** Takes the next bytes from the pipe. */
  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= this.#want && this.#length > 0) {
      const bytes = this.#joined();
      const start = this.#find(bytes);
      if (start > 0) {
        this.#events.noise(bytes.subarray(0, start));
        this.#keep(bytes.subarray(start));
        this.#want = 1;
        continue;
      }
      if (bytes.length < FRAME_HEADER_BYTES) {
        this.#want = bytes.length + 1;
        return;
      }
      const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(16);
      if (size > this.maxFrameBytes) throw new TypeError(`Frame of ${size} bytes`);
      this.#want = FRAME_HEADER_BYTES + size;
      if (bytes.length < this.#want) return;
      this.#events.sealed(bytes.slice(FRAME_HEADER_BYTES, this.#want));
      this.#keep(bytes.subarray(this.#want));
      this.#want = 1;
    }
  }

  /** Index at which a frame starts, or may start once more bytes arrive; the length if none does. */
  #find(bytes: Uint8Array): number {
    const magic = this.#magic;
    for (let at = 0;;) {
      at = bytes.indexOf(magic[0], at);
      if (at < 0) return bytes.length;
      let same = 1;
      while (same < magic.length && at + same < bytes.length && bytes[at + same] === magic[same]) {
        same++;
      }
      if (same === magic.length || at + same === bytes.length) return at;
      at++;
    }
  }

  #joined(): Uint8Array {
    if (this.#chunks.length > 1) {
      const all = new Uint8Array(this.#length);
      let at = 0;
      for (const chunk of this.#chunks) {
        all.set(chunk, at);
        at += chunk.length;
      }
      this.#chunks = [all];
    }
    return this.#chunks[0];
  }

  #keep(bytes: Uint8Array): void {
    this.#chunks = bytes.length > 0 ? [bytes] : [];
    this.#length = bytes.length;
  }
}
