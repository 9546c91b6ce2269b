/**
 * Hashes of scripts and styles, by which a page's Content-Security-Policy allows them.
 *
 * @module
 */

/** A source of the policy: `'sha256-…'`. */
export async function sourceHash(text: string): Promise<string> {
  const sum = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `'sha256-${new Uint8Array(sum).toBase64()}'`;
}
