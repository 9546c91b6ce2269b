/**
 * The script of the chat page: asks this server's own API and shows the answers as they are written.
 * It is a string, since it runs in the visitor's browser and not here; it has no template literals,
 * so that nothing in it needs escaping.
 */
export const CHAT_SCRIPT = String.raw`
"use strict";
(function () {
  var byId = function (id) { return document.getElementById(id); };
  var log = byId("log"), prompt = byId("prompt"), send = byId("send"), stop = byId("stop");
  var attached = [], conversation = [], running = null;
  var key = "";
  try { key = sessionStorage.getItem("nanovlm-key") || ""; } catch (_) { /* private mode */ }
  byId("key").value = key;

  function make(tag, className, text) {
    var element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }
  function headers() {
    var own = { "content-type": "application/json" };
    if (key) own.authorization = "Bearer " + key;
    return own;
  }
  function messageOf(response, body) {
    return body && body.error && body.error.message ? body.error.message : "the server answered " + response.status;
  }
  async function failure(response) {
    var body = null;
    try { body = await response.json(); } catch (_) { /* no JSON */ }
    if (response.status === 401) { byId("keyline").classList.remove("hidden"); byId("key").focus(); }
    return new Error(messageOf(response, body));
  }

  async function loadModels() {
    try {
      var response = await fetch("/v1/models", { headers: headers() });
      if (!response.ok) throw await failure(response);
      var names = (await response.json()).data.map(function (model) { return model.id; });
      [byId("model"), byId("second")].forEach(function (select, place) {
        select.replaceChildren.apply(select, names.map(function (name) { return new Option(name, name); }));
        select.selectedIndex = Math.min(place, names.length - 1);
      });
      byId("problem").textContent = "";
      byId("keyline").classList.add("hidden");
      byId("compare").disabled = false;
    } catch (error) {
      byId("problem").textContent = error.message;
    }
  }

  function readAsDataUrl(file) {
    return new Promise(function (resolve, reject) {
      var reader = new FileReader();
      reader.onload = function () { resolve(reader.result); };
      reader.onerror = function () { reject(reader.error); };
      reader.readAsDataURL(file);
    });
  }
  async function attach(files) {
    for (var file of files) {
      if (!/^image\//.test(file.type)) { say(file.name + " is no picture"); continue; }
      attached.push({ name: file.name || "pasted picture", url: await readAsDataUrl(file) });
    }
    showAttached();
  }
  function say(text) { byId("status").textContent = text; }
  function showAttached() {
    var list = byId("attached");
    list.replaceChildren();
    attached.forEach(function (picture, place) {
      var box = make("div", "picture"), image = make("img");
      image.src = picture.url;
      image.alt = picture.name;
      var remove = make("button", "", "✕");
      remove.type = "button";
      remove.setAttribute("aria-label", "Remove " + picture.name);
      remove.onclick = function () { attached.splice(place, 1); showAttached(); prompt.focus(); };
      box.append(image, remove);
      list.append(box);
    });
    if (attached.length > 0) say(attached.length + (attached.length === 1 ? " picture" : " pictures") + " attached");
  }

  async function showTiles(picture, place) {
    try {
      var response = await fetch("/api/tiles", { method: "POST", headers: headers(), body: JSON.stringify({ url: picture.url }) });
      if (!response.ok) throw await failure(response);
      var seen = await response.json();
      place.replaceChildren();
      if (seen.whole) place.append(tileGrid([seen.whole], 1, "the whole picture"));
      place.append(tileGrid(seen.tiles, seen.columns, seen.rows + " rows of " + seen.columns + " tiles"));
    } catch (error) {
      place.replaceChildren(make("p", "error", error.message));
    }
  }
  function tileGrid(tiles, columns, label) {
    var grid = make("div", "tiles");
    grid.style.gridTemplateColumns = "repeat(" + columns + ", 56px)";
    grid.setAttribute("role", "img");
    grid.setAttribute("aria-label", label);
    tiles.forEach(function (tile) {
      var image = make("img");
      image.src = tile;
      image.alt = "";
      grid.append(image);
    });
    return grid;
  }

  function numberOf(id) {
    var text = byId(id).value.trim();
    return text === "" ? undefined : Number(text);
  }
  function bodyFor(model) {
    var messages = [], system = byId("system").value.trim();
    if (system !== "") messages.push({ role: "system", content: system });
    conversation.forEach(function (turn) {
      messages.push({ role: "user", content: turn.parts });
      var answer = turn.answers[model];
      if (answer !== undefined) messages.push({ role: "assistant", content: answer });
    });
    var body = { model: model, messages: messages, stream: true, stream_options: { include_usage: true } };
    var settings = { temperature: numberOf("temperature"), top_p: numberOf("top-p"), max_tokens: numberOf("max-tokens"), seed: numberOf("seed") };
    for (var name in settings) if (settings[name] !== undefined) body[name] = settings[name];
    return body;
  }

  async function readEvents(response, onEvent) {
    var reader = response.body.pipeThrough(new TextDecoderStream()).getReader(), rest = "";
    for (;;) {
      var next = await reader.read();
      if (next.done) return;
      var parts = (rest + next.value).split("\n\n");
      rest = parts.pop();
      for (var part of parts) {
        // Comments come while an answer waits.
        if (part.startsWith("data: {")) onEvent(JSON.parse(part.slice(6)));
      }
    }
  }

  async function answer(model, turn, place, signal) {
    var heading = make("h2", "", model), text = make("p", "", ""), numbers = make("div", "numbers");
    place.append(heading, text, numbers);
    place.classList.add("writing");
    var written = "", began = performance.now(), usage = null;
    try {
      var response = await fetch("/v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(bodyFor(model)), signal: signal });
      if (!response.ok) throw await failure(response);
      await readEvents(response, function (event) {
        if (event.error) throw new Error(event.error.message);
        usage = event.usage || usage;
        var choice = event.choices[0];
        if (choice && choice.delta.content) { written += choice.delta.content; text.textContent = written; place.scrollIntoView({ block: "nearest" }); }
      });
    } catch (error) {
      if (error.name !== "AbortError") place.append(make("p", "error", error.message));
    }
    place.classList.remove("writing");
    var seconds = (performance.now() - began) / 1000;
    if (usage) numbers.textContent = usage.completion_tokens + " tokens in " + seconds.toFixed(1) + " s, after " + usage.prompt_tokens + " of the prompt";
    turn.answers[model] = written;
    return model + " says: " + (written || "nothing");
  }

  async function ask() {
    var text = prompt.value.trim();
    if (running !== null || (text === "" && attached.length === 0)) return;
    var models = [byId("model").value];
    if (byId("compare").checked && byId("second").value !== models[0]) models.push(byId("second").value);
    var pictures = attached, turn = { answers: {}, parts: pictures.map(function (picture) { return { type: "image_url", image_url: { url: picture.url } }; }).concat([{ type: "text", text: text }]) };
    conversation.push(turn);
    attached = [];
    showAttached();
    prompt.value = "";
    byId("empty").classList.add("hidden");
    var row = make("div", "turn"), question = make("div", "question");
    if (pictures.length > 0) {
      var list = make("div", "pictures");
      pictures.forEach(function (picture) {
        var box = make("div", "picture"), image = make("img"), details = make("details"), tiles = make("div");
        image.src = picture.url;
        image.alt = picture.name;
        details.append(make("summary", "", "As the model sees it"), tiles);
        details.ontoggle = function () { if (details.open && tiles.childElementCount === 0) showTiles(picture, tiles); };
        box.append(image, details);
        list.append(box);
      });
      question.append(list);
    }
    question.append(document.createTextNode(text));
    var answers = make("div", models.length > 1 ? "answers two" : "answers");
    row.append(question, answers);
    log.append(row);
    running = new AbortController();
    send.disabled = true;
    stop.classList.remove("hidden");
    say("Answering");
    var told = await Promise.all(models.map(function (model) {
      var place = make("section", "answer");
      place.setAttribute("aria-label", "Answer of " + model);
      answers.append(place);
      return answer(model, turn, place, running.signal);
    }));
    running = null;
    send.disabled = false;
    stop.classList.add("hidden");
    say(told.join(". "));
    prompt.focus();
  }

  byId("ask").onsubmit = function (event) { event.preventDefault(); ask(); };
  prompt.onkeydown = function (event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask(); }
  };
  stop.onclick = function () { if (running) running.abort(); };
  byId("choose").onclick = function () { byId("file").click(); };
  byId("file").onchange = function () { attach(Array.from(byId("file").files)); byId("file").value = ""; prompt.focus(); };
  document.onpaste = function (event) {
    var files = Array.from(event.clipboardData.files);
    if (files.length > 0) { event.preventDefault(); attach(files); }
  };
  document.ondragover = function (event) { event.preventDefault(); document.body.classList.add("dropping"); };
  document.ondragleave = function (event) { if (event.relatedTarget === null) document.body.classList.remove("dropping"); };
  document.ondrop = function (event) {
    event.preventDefault();
    document.body.classList.remove("dropping");
    attach(Array.from(event.dataTransfer.files));
  };
  byId("compare").onchange = function () { byId("secondline").classList.toggle("hidden", !byId("compare").checked); };
  byId("new").onclick = function () {
    if (running) running.abort();
    conversation = [];
    log.replaceChildren();
    byId("empty").classList.remove("hidden");
    prompt.focus();
  };
  byId("keyline").onsubmit = function (event) { event.preventDefault(); byId("key").blur(); };
  byId("key").onchange = function () {
    key = byId("key").value;
    try { sessionStorage.setItem("nanovlm-key", key); } catch (_) { /* private mode */ }
    loadModels();
  };
  loadModels();
})();
`;
