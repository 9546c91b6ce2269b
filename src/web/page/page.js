// The page that `export web` writes: loads the model beside it and asks it. It runs in the visitor's
// browser as it stands here.

// The module is beside this file in a site, and not in the sources.
const { loadModel } = await import(new URL("nanovlm-web.js", import.meta.url).href);

const byId = (id) => document.getElementById(id);
const question = byId("question"), send = byId("send"), stop = byId("stop");
const folder = new URL("model/", location.href);

/** Models up to this size are loaded without being asked for. */
const SMALL_BYTES = 30e6;

let model = null;
let picture = null;
let loading = null;
let answering = null;

function say(text) {
  byId("status").textContent = text;
}

function size(bytes) {
  return bytes < 1e6
    ? `${Math.max(1, Math.round(bytes / 1e3))} kB`
    : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

function weights(count) {
  if (count < 1e6) return `${Math.round(count / 1e3)} thousand`;
  return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} million`;
}

function problem(error) {
  byId("problem").textContent = error === null ? "" : error.message;
}

/** model.json: from the network, else from the cache of an earlier visit. */
async function readManifest() {
  const address = new URL("model.json", folder);
  try {
    const response = await fetch(address, { cache: "no-cache" });
    if (!response.ok) {
      throw new Error(`Cannot load ${address}: the server answered ${response.status}`);
    }
    return await response.json();
  } catch (error) {
    const kept = "caches" in globalThis ? await caches.match(address) : undefined;
    if (kept === undefined) throw error;
    return await kept.json();
  }
}

/** Whether all files of the model are in the cache. */
async function isKept(parts) {
  if (!("caches" in globalThis)) return false;
  const found = await Promise.all(parts.map(({ file, sha256 }) => {
    const key = new URL(file, folder);
    key.searchParams.set("sha256", sha256);
    return caches.match(key);
  }));
  return found.every((response) => response !== undefined);
}

async function load() {
  model?.dispose();
  model = null;
  problem(null);
  loading = new AbortController();
  byId("load").hidden = true;
  byId("progress-line").hidden = false;
  update();
  try {
    model = await loadModel({
      model: folder,
      backend: byId("backend").value,
      signal: loading.signal,
      onProgress({ stage, loadedBytes, totalBytes, cachedBytes }) {
        byId("progress").value = loadedBytes / totalBytes;
        const fromCache = cachedBytes === loadedBytes && loadedBytes > 0
          ? ", from this device"
          : "";
        byId("model-line").textContent = stage === "start"
          ? "Starting the model…"
          : `Loading the model: ${size(loadedBytes)} of ${size(totalBytes)}${fromCache}`;
      },
    });
    const where = model.backend === "webgpu" ? "WebGPU" : "wasm";
    byId("model-line").textContent = `Ready: ${weights(model.parameters)} weights on ${where}`;
    byId("model-line").title = model.backendReason;
    say("The model is ready");
  } catch (error) {
    byId("load").hidden = false;
    byId("model-line").textContent = "The model is not loaded. What has arrived is kept.";
    if (error.name !== "AbortError") problem(error);
    else byId("load").focus();
  }
  byId("progress-line").hidden = true;
  loading = null;
  update();
}

function update() {
  send.disabled = model === null || answering !== null;
  stop.hidden = answering === null;
  byId("remove").hidden = picture === null;
  byId("picture").hidden = picture === null;
  byId("drop-hint").hidden = picture !== null;
}

function take(file) {
  if (!file) return;
  if (!/^image\//.test(file.type)) {
    problem(new Error(`${file.name || "This"} is not a picture`));
    return;
  }
  problem(null);
  URL.revokeObjectURL(byId("picture").src);
  picture = file;
  byId("picture").src = URL.createObjectURL(file);
  byId("picture").alt = `Your picture, ${file.name || "pasted"}`;
  say("A picture is attached");
  update();
  question.focus();
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

async function ask() {
  const prompt = question.value.trim() || question.placeholder;
  const box = make("section", "answer", "");
  const text = make("p", "", ""), numbers = make("div", "numbers", "");
  if (picture !== null) {
    const small = make("img", "", "");
    small.src = URL.createObjectURL(picture);
    small.alt = "";
    box.append(small);
  }
  box.append(make("h2", "", prompt), text, numbers);
  box.setAttribute("aria-label", "Answer");
  byId("answers").prepend(box);
  answering = new AbortController();
  update();
  say("Answering");
  try {
    const answer = await model.ask(
      { prompt, images: picture === null ? [] : [picture] },
      {
        maxNewTokens: Math.max(1, Number(byId("longest").value) || 128),
        temperature: Number(byId("temperature").value) || 0,
        seed: Math.floor(Math.random() * 2 ** 31),
        signal: answering.signal,
        onText(piece) {
          text.textContent += piece;
        },
      },
    );
    text.textContent = answer.text;
    box.dataset.tokens = JSON.stringify(answer.tokens);
    numbers.textContent = `${answer.tokens.length} tokens in ${
      answer.seconds.toFixed(answer.seconds < 1 ? 2 : 1)
    } s`;
    say(`The model says: ${answer.text || "nothing"}`);
  } catch (error) {
    text.remove();
    box.append(make("p", "error", error.message));
  }
  answering = null;
  update();
  question.focus();
}

byId("load").onclick = load;
byId("cancel").onclick = () => loading?.abort();
byId("choose").onclick = () => byId("file").click();
byId("file").onchange = (event) => {
  take(event.target.files[0]);
  event.target.value = "";
};
byId("remove").onclick = () => {
  URL.revokeObjectURL(byId("picture").src);
  byId("picture").removeAttribute("src");
  picture = null;
  update();
  byId("choose").focus();
};
stop.onclick = () => answering?.abort();
byId("backend").onchange = () => {
  if (loading === null && byId("load").hidden) load();
};
byId("ask").onsubmit = (event) => {
  event.preventDefault();
  if (!send.disabled) ask();
};
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("dropping");
});
document.addEventListener("dragleave", () => byId("drop").classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("dropping");
  take(event.dataTransfer.files[0]);
});

if ("serviceWorker" in navigator) {
  // Without it the page works too, but not offline.
  navigator.serviceWorker.register("service-worker.js").catch(() => {});
}

try {
  const { name, texts, weights } = await readManifest();
  const parts = [...texts, ...weights];
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  document.title = `Ask ${name} about a picture`;
  document.querySelector("h1").textContent = `Ask ${name} about a picture`;
  byId("load").textContent = `Load the model (${size(bytes)})`;
  byId("model-line").textContent = `The model has ${size(bytes)}. It is kept in this browser.`;
  byId("load").hidden = false;
  const asked = new URLSearchParams(location.search).get("backend");
  if (["auto", "webgpu", "wasm"].includes(asked)) byId("backend").value = asked;
  if (bytes <= SMALL_BYTES || await isKept(parts)) await load();
} catch (error) {
  byId("model-line").textContent = "";
  problem(error);
}
