/** Resolves the version ranges of `jsr:` and `npm:` specifiers. */

type Version = [major: number, minor: number, patch: number];

function parse(text: string): Version | null {
  const found = /^v?(\d+)\.(\d+)\.(\d+)(?:\+.*)?$/.exec(text);
  return found === null ? null : [Number(found[1]), Number(found[2]), Number(found[3])];
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/**
 * The newest of `versions` in a range: `1.2.3`, `^1.2`, `~1.2.3`, `1`, `1.x`, `>=1.2.3`, `*`, or two of these
 * joined by `||`. A pre-release matches only its exact name.
 */
export function newestMatch(versions: string[], range = "*"): string | undefined {
  if (versions.includes(range)) return range;
  const tests = range.split("||").map((part) => matcher(part.trim()));
  const fitting = versions.flatMap((text) => {
    const version = parse(text);
    return version !== null && tests.some((fits) => fits(version)) ? [{ text, version }] : [];
  });
  return fitting.sort((a, b) => compare(a.version, b.version)).at(-1)?.text;
}

function matcher(range: string): (version: Version) => boolean {
  if (/^(\*|x|latest|)$/.test(range)) return () => true;
  const found = /^(\^|~|>=|=|v)?\s*(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?$/.exec(range);
  if (found === null) return () => false;
  const [, sign = "", ...parts] = found;
  const known = parts.filter((part) => part !== undefined && /^\d+$/.test(part)).map(Number);
  const [major, minor = 0, patch = 0] = known;
  const least: Version = [major, minor, patch];
  return (version) => {
    if (compare(version, least) < 0) return false;
    if (sign === ">=") return true;
    if (sign === "^") {
      if (major > 0 || known.length === 1) return version[0] === major;
      if (minor > 0 || known.length === 2) return version[0] === 0 && version[1] === minor;
      return compare(version, least) === 0;
    }
    if (sign === "~" && known.length > 1) return version[0] === major && version[1] === minor;
    return known.every((part, i) => version[i] === part);
  };
}
