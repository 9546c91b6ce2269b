import { assertEquals, assertRejects } from "@std/assert";
import { RewardModuleError } from "../../../src/rewards/mod.ts";
import {
  isLoopback,
  isPrivateAddress,
  refusePrivateHost,
} from "../../../src/rewards/graph/address_rules.ts";
import { RemoteModules } from "../../../src/rewards/graph/remote_module.ts";
import { TempModules } from "../temp_modules.ts";
import { integrityOf, ModuleServer, tarball } from "./module_server.ts";

Deno.test("isPrivateAddress() knows this machine, private and special networks", () => {
  for (
    const address of ["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.9.9.9", "169.254.169.254"]
      .concat(["172.16.0.1", "172.31.255.255", "192.168.1.1", "198.18.0.1", "224.0.0.1"])
      .concat(["255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "fe80::1", "fc00::1"])
      .concat(["fd12::1", "ff02::1", "2002:7f00:1::", "2001:0:1::"])
  ) assertEquals(isPrivateAddress(address), true, address);
  for (const address of ["1.1.1.1", "100.128.0.1", "172.32.0.1", "198.20.0.1", "2606:4700::1111"]) {
    assertEquals(isPrivateAddress(address), false, address);
  }
  assertEquals(["127.0.0.1", "localhost", "[::1]", "127.0.0.1.nip.io"].map(isLoopback), [
    true,
    true,
    true,
    false,
  ]);
});

Deno.test("refusePrivateHost() refuses addresses and names of the local network", async () => {
  for (
    const host of ["127.0.0.1", "[::1]", "169.254.169.254", "localhost", "a.localhost", "printer"]
      .concat(["nas.local", "vault.internal"])
  ) await assertRejects(() => refusePrivateHost(host), Error, "private network");
});

Deno.test("what came over the network cannot make the host call this machine", async () => {
  await using inner = new ModuleServer({ "/x.ts": "export const x = 1;" });
  await using temp = await TempModules.write({ "secret.txt": "canary" });
  const secure = inner.origin.replace("http:", "https:");
  await using server = new ModuleServer({
    "/import.ts": `import "${inner.origin}/x.ts";`,
    "/import_https.ts": `import "${secure}/x.ts";`,
    "/import_private.ts": 'import "https://169.254.169.254/latest.ts";',
    "/redirect.ts": `->${inner.origin}/x.ts`,
    "/redirect_https.ts": `->${secure}/x.ts`,
    "/redirect_file.ts": `->file://${temp.path("secret.txt")}`,
  });
  for (const path of Object.keys(server.files)) {
    await assertRejects(
      () => integrityOf(`${server.origin}${path}`, temp.path("cache")),
      RewardModuleError,
    );
  }
  assertEquals(inner.asked, []);
});

Deno.test("a configured registry is called for its packages and for nothing else", async () => {
  await using inner = new ModuleServer({ "/x.ts": "export const x = 1;" });
  await using temp = await TempModules.write({ "secret.ts": "export const canary = 1;" });
  const meta = (file: string) => JSON.stringify({ exports: { ".": file } });
  const versions = JSON.stringify({ versions: { "1.0.0": {} } });
  await using server = new ModuleServer({
    "/@a/file/meta.json": versions,
    "/@a/file/1.0.0_meta.json": meta(`file://${temp.path("secret.ts")}`),
    "/@a/here/meta.json": versions,
    "/@a/here/1.0.0_meta.json": meta(`${inner.origin}/x.ts`),
    "/@a/moved/meta.json": versions,
    "/@a/moved/1.0.0_meta.json": meta("./mod.ts"),
    "/@a/moved/1.0.0/mod.ts": `->${inner.origin}/x.ts`,
    "/@a/import/meta.json": versions,
    "/@a/import/1.0.0_meta.json": meta("./mod.ts"),
    "/@a/import/1.0.0/mod.ts": `import "${inner.origin}/x.ts";`,
  });
  Deno.env.set("JSR_URL", server.origin);
  try {
    for (const name of ["file", "here", "moved", "import"]) {
      await assertRejects(
        () => integrityOf(`jsr:@a/${name}@1`, temp.path("cache")),
        RewardModuleError,
      );
    }
  } finally {
    Deno.env.delete("JSR_URL");
  }
  assertEquals(inner.asked, []);
});

Deno.test("a server cannot swap two modules under one integrity", async () => {
  await using temp = await TempModules.write({});
  const files: Record<string, string> = {
    "/main.ts":
      'import { n as a } from "./a.ts"; import { n as b } from "./b.ts"; export const score = () => a - b;',
    "/one.ts": "export const n: number = 1;",
    "/two.ts": "export const n: number = 2;",
  };
  await using server = new ModuleServer(files);
  const point = (a: string, b: string) => {
    server.files["/a.ts"] = `->${server.origin}${a}`;
    server.files["/b.ts"] = `->${server.origin}${b}`;
  };
  point("/one.ts", "/two.ts");
  const first = await integrityOf(`${server.origin}/main.ts`, temp.path("c1"));
  point("/two.ts", "/one.ts");
  const second = await integrityOf(`${server.origin}/main.ts`, temp.path("c2"));
  point("/one.ts", "/two.ts");
  const third = await integrityOf(`${server.origin}/main.ts`, temp.path("c3"));
  assertEquals([first === second, first === third], [false, true]);
});

Deno.test("a package that unpacks to far more than its archive is refused", async () => {
  await using temp = await TempModules.write({});
  await using server = new ModuleServer({
    "/large": JSON.stringify({ versions: { "1.0.0": {} } }),
    "/large/-/large-1.0.0.tgz": await tarball({
      "package.json": JSON.stringify({ type: "module", main: "main.js" }),
      "main.js": "export const score = () => 1;",
      "zeros.txt": "0".repeat(80 << 20),
    }),
  });
  Deno.env.set("NPM_CONFIG_REGISTRY", server.origin);
  try {
    await assertRejects(
      () => integrityOf("npm:large@1", temp.path("cache")),
      RewardModuleError,
      "unpacks to more than 64 MB",
    );
  } finally {
    Deno.env.delete("NPM_CONFIG_REGISTRY");
  }
});

Deno.test("a graph has one time limit, however many files come late", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  (async () => {
    for await (const connection of listener) connections.push(connection);
  })().catch(() => {});
  const entry = new URL(`http://127.0.0.1:${listener.addr.port}/main.ts`);
  await using temp = await TempModules.write({});
  const modules = new RemoteModules(temp.path("cache"), entry, false, 300);
  await assertRejects(() => modules.read(entry.href, "", ""));
  await assertRejects(() => modules.read(`${entry.href}?other`, "", ""), Error, "too long");
  for (const connection of connections) connection.close();
});
