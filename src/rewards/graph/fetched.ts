/** A file that came over the network. */
export interface Fetched {
  /** URL of the file after all redirects. */
  url: string;
  contentType: string;
  bytes: Uint8Array<ArrayBuffer>;
}
