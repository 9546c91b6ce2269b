import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { downloadFile } from "../../src/hub/download_file.ts";
import { downloadSnapshot } from "../../src/hub/download_snapshot.ts";
import { HubClient } from "../../src/hub/hub_client.ts";
import { HubError } from "../../src/hub/hub_error.ts";
import { hubFetch } from "../../src/hub/hub_fetch.ts";
import { type HubSettings, hubSettings } from "../../src/hub/hub_settings.ts";
import { resolveModelFolder } from "../../src/hub/model_folder.ts";
import { uploadFolder } from "../../src/hub/upload_folder.ts";
import { type FakeHub, type FakeHubOptions, startFakeHub } from "./fake_hub.ts";

const weights = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 2654435761) >>> 24);
const model = {
  "config.json": '{"lm_hidden_dim": 64}',
  "model.safetensors": weights,
  "tokenizer.json": "{}",
  "pytorch_model.bin": "old",
  "onnx/model.onnx": "x",
};

async function withHub(
  options: FakeHubOptions,
  run: (
    hub: FakeHub,
    client: (overrides?: Partial<HubSettings>) => HubClient,
    cacheDir: string,
  ) => Promise<void>,
): Promise<void> {
  const cacheDir = await Deno.makeTempDir();
  const hub = startFakeHub(options);
  try {
    const client = (overrides: Partial<HubSettings> = {}) => {
      const settings = {
        endpoint: hub.endpoint,
        token: null,
        cacheDir,
        offline: false,
        ...overrides,
      };
      return new HubClient(settings, hubFetch(settings, 1));
    };
    await run(hub, client, cacheDir);
  } finally {
    await hub.close();
    await Deno.remove(cacheDir, { recursive: true });
  }
}

Deno.test("hubSettings() reads what huggingface_hub reads, and in its order", () => {
  const from = (env: Record<string, string>) => hubSettings((name) => env[name]);
  assertEquals(from({ HF_HOME: "/h", HF_ENDPOINT: "http://127.0.0.1:1/" }), {
    endpoint: "http://127.0.0.1:1",
    token: null,
    cacheDir: "/h/hub",
    offline: false,
  });
  assertEquals(from({ HF_HOME: "/h", HF_HUB_CACHE: "/c" }).cacheDir, "/c");
  assertEquals(from({ XDG_CACHE_HOME: "/x" }).cacheDir, "/x/huggingface/hub");
  assertEquals(from({ HF_HOME: "/h", HF_HUB_OFFLINE: "yes" }).offline, true);
  assertEquals(from({ HF_HOME: "/h", HF_HUB_OFFLINE: "0" }).offline, false);
  const home = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${home}/token`, "hf_stored\n");
    assertEquals(from({ HF_HOME: home }).token, "hf_stored");
    assertEquals(from({ HF_HOME: home, HF_TOKEN: " hf_env " }).token, "hf_env");
  } finally {
    Deno.removeSync(home, { recursive: true });
  }
});

Deno.test("downloadFile() keeps files in huggingface_hub's layout and fetches them once", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client, cacheDir) => {
    const options = { repo: "org/tiny", path: "model.safetensors", client: client() };
    const path = await downloadFile(options);
    const commit = hub.commit("models", "org/tiny");
    const folder = `${cacheDir}/models--org--tiny`;
    assertEquals(path, `${folder}/snapshots/${commit}/model.safetensors`);
    assertEquals(await Deno.readFile(path), weights);
    assertEquals(await Deno.readTextFile(`${folder}/refs/main`), commit);
    const link = await Deno.readLink(path);
    assert(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/.test(link), link);
    const before = hub.requests.length;
    assertEquals(await downloadFile(options), path);
    assertEquals(hub.requests.slice(before).map((r) => r.method), ["HEAD"]);
    await downloadFile({ ...options, revision: commit });
    assertEquals(hub.requests.length, before + 1, "a commit's file needs no request");
  }));

Deno.test("downloadFile() gets the new file after the repository changed", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    const options = { repo: "org/tiny", path: "config.json", client: client() };
    await downloadFile(options);
    hub.push("models", "org/tiny", { "config.json": "{}" });
    assertEquals(await Deno.readTextFile(await downloadFile(options)), "{}");
  }));

Deno.test("downloadFile() continues where a connection broke off", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    hub.breakAfter(100_000);
    const path = await downloadFile({
      repo: "org/tiny",
      path: "model.safetensors",
      client: client(),
    });
    assertEquals(await Deno.readFile(path), weights);
    const ranges = hub.requests.filter((r) => r.at === "storage").map((r) => r.range);
    assertEquals(ranges, [null, "bytes=100000-"]);
  }));

Deno.test("downloadFile() goes on with what a killed process left", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client, cacheDir) => {
    const options = { repo: "org/tiny", path: "model.safetensors", client: client() };
    const path = await downloadFile(options);
    const blob = await Deno.realPath(path);
    await Deno.remove(path);
    await Deno.remove(blob);
    await Deno.writeFile(`${blob}.incomplete`, weights.slice(0, 250_000));
    await downloadFile(options);
    assertEquals(await Deno.readFile(path), weights);
    assertEquals(hub.requests.at(-1)?.range, "bytes=250000-");
    const blobs = await Array.fromAsync(Deno.readDir(`${cacheDir}/models--org--tiny/blobs`));
    assertEquals(blobs.length, 1);
  }));

Deno.test("downloadFile() refuses bytes that do not have the right SHA-256, and keeps none", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    const options = { repo: "org/tiny", path: "model.safetensors", client: client() };
    hub.spoilNext();
    await assertRejects(() => downloadFile(options), HubError, "do not have the SHA-256");
    assertEquals(await Deno.readFile(await downloadFile(options)), weights);
  }));

Deno.test("a busy Hub is asked again, a broken one is named with its status", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    const options = { repo: "org/tiny", path: "config.json", client: client() };
    hub.failNext(503, 2);
    await downloadFile(options);
    hub.failNext(503, 9);
    await assertRejects(() => downloadFile(options), HubError, "the Hub answered 503");
  }));

Deno.test("the token goes to the endpoint and to no other host", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    await downloadSnapshot({ repo: "org/tiny", client: client({ token: "hf_secret" }) });
    const sent = (at: string) =>
      new Set(hub.requests.filter((r) => r.at === at).map((r) => r.authorization));
    assertEquals(sent("hub"), new Set(["Bearer hf_secret"]));
    assertEquals(sent("storage"), new Set([null]));
  }));

const gated = { models: { "org/tiny": model }, gated: ["org/tiny"], token: "hf_right" };

Deno.test("a gated repository says to set HF_TOKEN, and opens with the right one", () =>
  withHub(gated, async (_hub, client) => {
    const options = { repo: "org/tiny", path: "config.json" };
    const error = await assertRejects(
      () => downloadFile({ ...options, client: client() }),
      HubError,
      "access is restricted",
    );
    assertStringIncludes(error.message, "set HF_TOKEN");
    await assertRejects(
      () => downloadFile({ ...options, client: client({ token: "hf_wrong" }) }),
      HubError,
      "the token in HF_TOKEN may not read it",
    );
    await downloadFile({ ...options, client: client({ token: "hf_right" }) });
    await assertRejects(
      () => resolveModelFolder("org/tiny", { client: client({ token: "hf_wrong" }) }),
      HubError,
      "org/tiny",
    );
  }));

Deno.test("what is not there is named: repository, file, revision, host", () =>
  withHub({ models: { "org/tiny": model } }, async (_hub, client) => {
    const get = (repo: string, path: string, revision = "main", at = client()) => () =>
      downloadFile({ repo, path, revision, client: at });
    await assertRejects(get("org/none", "x"), HubError, "there is none of that name");
    await assertRejects(get("org/tiny", "x"), HubError, "no such file at revision main");
    await assertRejects(get("org/tiny", "config.json", "v9"), HubError, "revision v9");
    await assertRejects(get("org/tiny", "../x"), HubError, "Cannot use the file name");
    await assertRejects(get("../tiny", "x"), HubError, "want owner/name");
    const nowhere = client({ endpoint: "http://127.0.0.1:9" });
    await assertRejects(get("org/tiny", "x", "main", nowhere), HubError, "Cannot reach http://127");
  }));

Deno.test("HF_HUB_OFFLINE uses the cache alone, and says so if that is not enough", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    const offline = client({ offline: true });
    const options = { repo: "org/tiny", path: "config.json" };
    const error = await assertRejects(
      () => downloadFile({ ...options, client: offline }),
      HubError,
      "HF_HUB_OFFLINE is set",
    );
    assertEquals(error.kind, "offline");
    await assertRejects(() => resolveModelFolder("org/tiny", { client: offline }), HubError);
    const folder = await resolveModelFolder("org/tiny", { client: client() });
    const before = hub.requests.length;
    assertEquals(await resolveModelFolder("org/tiny", { client: offline }), folder);
    await downloadFile({ ...options, client: offline });
    assertEquals(hub.requests.length, before);
  }));

Deno.test("with no network, what the cache has still serves", () =>
  withHub({ models: { "org/tiny": model } }, async (_hub, client) => {
    const folder = await resolveModelFolder("org/tiny", { client: client() });
    const warn = console.warn;
    const warnings: string[] = [];
    console.warn = (text: string) => warnings.push(text);
    try {
      const gone = client({ endpoint: "http://127.0.0.1:9" });
      assertEquals(await resolveModelFolder("org/tiny", { client: gone }), folder);
    } finally {
      console.warn = warn;
    }
    assertStringIncludes(warnings[0], "as it is in the cache");
  }));

Deno.test("resolveModelFolder() takes config, tokenizer and safetensors, and nothing else", () =>
  withHub({ models: { "org/tiny": model } }, async (hub, client) => {
    const folder = await resolveModelFolder("org/tiny@main", { client: client() });
    const names = await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name);
    assertEquals(names.sort(), ["config.json", "model.safetensors", "tokenizer.json"]);
    assertEquals(hub.requests.some((r) => r.path.includes("onnx")), false);
    assertEquals(await resolveModelFolder(folder), folder, "a local folder passes through");
  }));

Deno.test("resolveModelFolder() takes shards and their index, and names what has no weights", () =>
  withHub({
    models: {
      "org/sharded": {
        "config.json": "{}",
        "model.safetensors.index.json": "{}",
        "model-00001-of-00002.safetensors": weights.slice(0, 2000),
        "model-00002-of-00002.safetensors": weights.slice(2000, 4000),
      },
      "org/bare": { "config.json": "{}", "pytorch_model.bin": "x" },
    },
  }, async (_hub, client) => {
    const folder = await resolveModelFolder("org/sharded", { client: client() });
    const names = await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name);
    assertEquals(names.length, 4);
    await assertRejects(
      () => resolveModelFolder("org/bare", { client: client() }),
      HubError,
      "it has no model.safetensors",
    );
    await resolveModelFolder("org/bare", { client: client(), weights: false });
    await assertRejects(() => resolveModelFolder("./no/such/folder"), HubError, "no such folder");
  }));

Deno.test("uploadFolder() makes the repository and commits small and large files", () =>
  withHub({ token: "hf_write" }, async (hub, client, cacheDir) => {
    const folder = `${cacheDir}/out`;
    await Deno.mkdir(`${folder}/sub`, { recursive: true });
    await Deno.writeTextFile(`${folder}/config.json`, "{}");
    await Deno.writeFile(`${folder}/sub/model.safetensors`, weights);
    await Deno.writeTextFile(`${folder}/.hidden`, "x");
    const options = { repo: "me/new", folder };
    await assertRejects(
      () => uploadFolder({ ...options, client: client() }),
      HubError,
      "there is no token",
    );
    await assertRejects(
      () => uploadFolder({ ...options, client: client({ token: "hf_read" }) }),
      HubError,
      "needs write access",
    );
    const commit = await uploadFolder({ ...options, client: client({ token: "hf_write" }) });
    assertEquals(commit, hub.commit("models", "me/new"));
    const files = hub.files("models", "me/new");
    assertEquals([...files.keys()].sort(), ["config.json", "sub/model.safetensors"]);
    assertEquals(files.get("sub/model.safetensors"), weights);
    const storage = hub.requests.filter((r) => r.at === "storage");
    assertEquals(storage.map((r) => [r.method, r.authorization]), [["PUT", null]]);
  }));
