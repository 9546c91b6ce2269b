// Keeps the page's own files, so that it opens offline. `export web` writes the constants VERSION and
// FILES above these lines. The model's files are kept by the page.
const PREFIX = `nanovlm-page ${self.registration.scope} `;
const CACHE = PREFIX + VERSION;
const ADDRESSES = FILES.map((file) => new URL(file, self.registration.scope).href);

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(ADDRESSES.map((address) => new Request(address, { cache: "reload" })));
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = "";
  address.hash = "";
  if (address.href === self.registration.scope) address.pathname += "index.html";
  if (event.request.method !== "GET" || !ADDRESSES.includes(address.href)) return;
  event.respondWith((async () => {
    const cache = await caches.open(CACHE);
    return await cache.match(address.href) ?? await fetch(event.request);
  })());
});
