#!/usr/bin/env bash
# Deno 2.9.6: Deno.serve does not abort `request.signal` when the client goes away, if the request has a
# body of some 500 bytes or more that the handler has read. With a small body it is aborted at once.
# A server that works on a long answer never learns that nobody waits for it any more. (Since 2.8.3 Deno
# has an HTTP/1.1 server of its own.) Exits 1 if the client's leaving is told in both cases, or in none.
# Needs node's npm.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit deno@2.9.6 > /dev/null

cat > disconnect.ts <<'TS'
const told: Record<string, boolean> = {};
const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
  const body = await request.text();
  told[body.length] = false;
  const gone = Promise.withResolvers<void>();
  request.signal.addEventListener("abort", () => {
    told[body.length] = true;
    gone.resolve();
  });
  await Promise.race([gone.promise, new Promise((resolve) => setTimeout(resolve, 2500))]);
  return new Response("nobody reads this");
});
for (const bytes of [64, 4096]) {
  const leaving = AbortSignal.timeout(500);
  await fetch(`http://127.0.0.1:${server.addr.port}/`, {
    method: "POST",
    body: "x".repeat(bytes),
    signal: leaving,
  }).catch((error) => {
    if (!leaving.aborted) throw error;
  });
  // A second and a half after the client went away.
  await new Promise((resolve) => setTimeout(resolve, 1500));
}
console.log(JSON.stringify(told));
Deno.exit(0);
TS
found=$(npx --no-install deno run --allow-net --unstable-no-legacy-abort disconnect.ts)
echo "deno 2.9.6, told by request.signal that the client went away, by the bytes of its body: $found"
[ "$found" = '{"64":true,"4096":false}' ]
