/** Which addresses the host may call for a module. */

/** Names that mean this machine or the local network. */
const LOCAL_NAMES = /(^|\.)(localhost|local|internal|intranet|lan|home|corp|home\.arpa)\.?$/i;

/** Whether a host name is this machine's own loopback address. */
export function isLoopback(hostname: string): boolean {
  return /^(127(\.\d+){3}|localhost|\[::1\])$/.test(hostname);
}

/** Whether an address, without brackets, belongs to this machine, a private or a special network. */
export function isPrivateAddress(address: string): boolean {
  const mapped = /^::(?:ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(mapped ?? address);
  if (v4 !== null) {
    const [a, b] = [Number(v4[1]), Number(v4[2])];
    return a === 0 || a === 10 || a === 127 || a >= 224 || (a === 100 && b >= 64 && b < 128) ||
      (a === 169 && b === 254) || (a === 172 && b >= 16 && b < 32) ||
      (a === 192 && (b === 168 || (b === 0 && v4[3] !== "1"))) || (a === 198 && (b & 0xfe) === 18);
  }
  // Of IPv6, what is routed on the internet (2000::/3), less the addresses that embed an IPv4 one.
  return !/^[23][0-9a-f]{3}:/i.test(address) || /^2002:|^2001:0?:|^2001:0{1,4}:/i.test(address);
}

/**
 * Refuses to call this machine or a private network.
 *
 * A name is looked up first. Its owner can answer differently a moment later; that the connection is
 * TLS with a certificate for the name is what remains then.
 *
 * @throws {Error} if the host is private, or its name cannot be looked up
 */
export async function refusePrivateHost(hostname: string): Promise<void> {
  const bare = hostname.replace(/^\[|\]$/g, "");
  const refuse = (): never => {
    throw new Error(`it calls ${hostname}, which is on this machine or a private network`);
  };
  if (/^[\d.]+$/.test(bare) || bare.includes(":")) {
    if (isPrivateAddress(bare)) refuse();
    return;
  }
  if (LOCAL_NAMES.test(bare) || !bare.includes(".")) refuse();
  const found = await Promise.allSettled([
    Deno.resolveDns(bare, "A"),
    Deno.resolveDns(bare, "AAAA"),
  ]);
  const addresses = found.flatMap((one) => one.status === "fulfilled" ? one.value : []);
  // Behind a proxy names are not looked up here; the proxy decides what it reaches.
  if (addresses.some(isPrivateAddress)) refuse();
}
