/**
 * Sealed frames over a pipe: `magic (16 bytes) · length (4) · AES-GCM(payload)`.
 *
 * A module that runs in the child may reach the same file descriptors. It does not have the key, so
 * it can neither forge, read nor replay a frame: the nonce is the direction and a counter. Bytes
 * between frames are noise.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */

/** Seals and opens the frames of one session. */
export interface Frames {
  /** A frame, ready to be written. Frames must be written in the order in which they were sealed. */
  seal(payload: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  /** The payload of the next sealed part. @throws {Error} if it is not the other end's next frame. */
  open(sealed: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** Bytes before the sealed part of a frame: the magic and the length. */
export const FRAME_HEADER_BYTES = 20;

/** Makes the {@linkcode Frames} of one end; `end` is 0 for the host and 1 for the child. */
export async function makeFrames(
  magic: Uint8Array,
  keyBytes: Uint8Array<ArrayBuffer>,
  end: 0 | 1,
): Promise<Frames> {
  const key = await crypto.subtle.importKey("raw", keyBytes, "AES-GCM", false, [
    "encrypt",
    "decrypt",
  ]);
  let sent = 0;
  let received = 0;
  function nonce(from: number, count: number): Uint8Array<ArrayBuffer> {
    const iv = new Uint8Array(12);
    iv[0] = from;
    new DataView(iv.buffer).setFloat64(4, count);
    return iv;
  }
  return {
    async seal(payload) {
      const iv = nonce(end, sent++);
      const sealed = new Uint8Array(
        await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, payload),
      );
      const frame = new Uint8Array(20 + sealed.length);
      frame.set(magic);
      new DataView(frame.buffer).setUint32(16, sealed.length);
      frame.set(sealed, 20);
      return frame;
    },
    async open(sealed) {
      const iv = nonce(1 - end, received++);
      return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed));
    },
  };
}
