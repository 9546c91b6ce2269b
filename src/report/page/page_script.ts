/**
 * The script of report.html: draws the curves with uPlot, and answers to smoothing, logarithmic
 * scales and the lines' buttons. It is a string, since it runs in the reader's browser and not
 * here; it uses no template literals, so that nothing in it needs escaping.
 */
export const PAGE_SCRIPT = `
"use strict";
(function () {
  var data = JSON.parse(document.getElementById("report-data").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var still = window.matchMedia("(prefers-reduced-motion: reduce)");
  var stored = {};
  try { stored = JSON.parse(sessionStorage.getItem("nanovlm-report") || "{}"); } catch (_) { /* private mode */ }
  function store(name, value) {
    stored[name] = value;
    try { sessionStorage.setItem("nanovlm-report", JSON.stringify(stored)); } catch (_) { /* private mode */ }
  }
  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }
  function make(tag, className, text) {
    var element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }
  function show(value) {
    if (value === null || value === undefined || !isFinite(value)) return "–";
    var size = Math.abs(value);
    if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential(2);
    if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString("en-US");
    return value.toPrecision(size < 0.1 ? 3 : 4);
  }
  function tick(value) {
    var size = Math.abs(value);
    if (size >= 1e5) return value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 2 });
    if (size > 0 && size < 1e-3) return value.toExponential().replace(/(\\.\\d)\\d+/, "$1");
    return value.toLocaleString("en-US", { maximumFractionDigits: 4 });
  }
  function mebibytes(value) {
    return (value / 1048576).toLocaleString("en-US", { maximumFractionDigits: 1 }) + " MiB";
  }
  // Exponential moving average with bias correction (Kingma and Ba, 2014, section 3).
  function smooth(values, weight) {
    var mean = 0, norm = 1;
    return values.map(function (value) {
      if (value === null || value === undefined) return value;
      mean = weight * mean + (1 - weight) * value;
      norm *= weight;
      return mean / (1 - norm);
    });
  }

  function join(series) {
    return series.length === 1
      ? [series[0].steps, series[0].values]
      : uPlot.join(series.map(function (s) { return [s.steps, s.values]; }));
  }
  var charts = data.charts.map(function (chart, index) {
    return {
      title: chart.title, bytes: chart.series.every(function (s) { return /_bytes$/.test(s.key); }), series: chart.series, joined: join(chart.series), plot: null, hidden: {},
      log: (stored.log || []).indexOf(chart.title) >= 0,
      figure: document.getElementById("chart-" + index), buttons: []
    };
  });
  var smoothing = typeof stored.smoothing === "number" ? stored.smoothing : data.smoothing;
  var sync = uPlot.sync("steps");

  function canLog(chart) {
    return chart.series.every(function (s) { return s.values.every(function (v) { return v > 0; }); });
  }
  function smoothed(series) { return smoothing > 0 && series.values.length > 20; }

  function draw(chart) {
    if (chart.plot) chart.plot.destroy();
    var host = chart.figure.querySelector(".plot");
    // Folded away: it is drawn when it is unfolded.
    chart.plot = null;
    if (host.clientWidth === 0) return;
    var columns = [chart.joined[0]];
    var lines = [{}];
    chart.series.forEach(function (s, i) {
      var stroke = color("--s" + (i % 8));
      var few = s.values.length <= 40;
      var soft = smoothed(s);
      if (soft) {
        columns.push(chart.joined[i + 1]);
        lines.push({ stroke: stroke, width: 1, alpha: 0.25, spanGaps: true, show: !chart.hidden[s.key], points: { show: false } });
      }
      columns.push(soft ? smooth(chart.joined[i + 1], smoothing) : chart.joined[i + 1]);
      lines.push({
        stroke: stroke, width: 2, spanGaps: true, show: !chart.hidden[s.key],
        dash: i >= 8 ? [6, 4] : undefined,
        points: { show: few, size: 6, fill: stroke, stroke: stroke }
      });
    });
    var axis = function (grid) {
      return {
        stroke: color("--quiet"), font: "12px system-ui, sans-serif",
        grid: { show: grid, stroke: color("--grid"), width: 1 }, ticks: { show: false }
      };
    };
    var x = axis(false);
    x.values = function (_, splits) { return splits.map(function (v) { return Number.isInteger(v) ? v.toLocaleString("en-US") : ""; }); };
    x.size = 28;
    var y = axis(true);
    y.size = function (self, values) {
      var longest = (values || []).reduce(function (n, v) { return Math.max(n, v ? v.length : 0); }, 0);
      return Math.max(36, longest * 7 + 14);
    };
    y.values = function (_, splits) {
      return splits.map(function (v) {
        if (v === null) return null;
        if (chart.log && !/^1/.test(v.toExponential())) return null;
        return (chart.bytes ? mebibytes : tick)(v);
      });
    };
    chart.plot = new uPlot({
      width: host.clientWidth, height: host.clientHeight,
      legend: { show: false },
      cursor: { sync: { key: sync.key, setSeries: false }, y: false, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1 } },
      axes: [x, y], series: lines,
      hooks: { setCursor: [function (self) { read(chart, self.cursor.idx); }] }
    }, columns, host);
    read(chart, null);
  }

  // The value at the cursor, or the last one; a line without a value there shows its last before.
  function read(chart, index) {
    var steps = chart.joined[0];
    var at = index === null || index === undefined ? steps.length - 1 : index;
    chart.series.forEach(function (s, i) {
      var column = chart.joined[i + 1], j = at;
      while (j > 0 && (column[j] === null || column[j] === undefined)) j--;
      chart.buttons[i].lastChild.textContent = (chart.bytes ? mebibytes : show)(column[j]);
    });
    chart.figure.querySelector(".at").textContent = "step " + steps[at].toLocaleString("en-US");
  }

  charts.forEach(function (chart) {
    var tools = chart.figure.querySelector(".tools");
    tools.append(make("span", "at"));
    if (canLog(chart)) {
      var log = make("button", "", "log");
      log.type = "button";
      log.title = "Logarithmic scale";
      log.setAttribute("aria-label", "log scale for " + chart.title);
      log.setAttribute("aria-pressed", String(chart.log));
      log.addEventListener("click", function () {
        chart.log = !chart.log;
        log.setAttribute("aria-pressed", String(chart.log));
        store("log", charts.filter(function (c) { return c.log; }).map(function (c) { return c.title; }));
        draw(chart);
      });
      tools.append(log);
    } else {
      chart.log = false;
    }
    var legend = chart.figure.querySelector(".legend");
    chart.series.forEach(function (s, i) {
      var button = make("button");
      button.type = "button";
      button.title = "Show or hide this line";
      button.setAttribute("aria-pressed", "true");
      var swatch = make("i");
      swatch.style.background = "var(--s" + (i % 8) + ")";
      var words = make("span", "", s.name || s.key);
      if (s.name) words.append(" ", make("code", "", s.key));
      button.append(swatch, words, make("b"));
      button.addEventListener("click", function () {
        chart.hidden[s.key] = !chart.hidden[s.key];
        button.setAttribute("aria-pressed", String(!chart.hidden[s.key]));
        draw(chart);
      });
      chart.buttons.push(button);
      legend.append(button);
    });
  });
  function drawAll() { charts.forEach(draw); }
  drawAll();
  dark.addEventListener("change", drawAll);
  var resize = new ResizeObserver(function () {
    charts.forEach(function (chart) {
      var host = chart.figure.querySelector(".plot");
      if (host.clientWidth === 0) return;
      if (!chart.plot) draw(chart);
      else if (chart.plot.width !== host.clientWidth) {
        chart.plot.setSize({ width: host.clientWidth, height: host.clientHeight });
      }
    });
  });
  charts.forEach(function (chart) { resize.observe(chart.figure); });
  var more = document.getElementById("more");
  if (more) {
    if (stored.more) more.open = true;
    more.addEventListener("toggle", function () { store("more", more.open); });
  }

  var slider = document.getElementById("smoothing");
  if (slider) {
    var label = document.getElementById("smoothing-value");
    slider.value = String(smoothing);
    label.textContent = smoothing.toFixed(2);
    slider.addEventListener("input", function () {
      smoothing = Number(slider.value);
      label.textContent = smoothing.toFixed(2);
      store("smoothing", smoothing);
      drawAll();
    });
  }

  // The cards of answers: all that fit the filters, the first ones until the reader asks for more.
  function filterAnswers() {
    var cards = document.getElementById("answers"), filters = document.getElementById("filters");
    if (!cards) return;
    var chosen = function (name) {
      var select = document.getElementById("filter-" + name);
      if (!select) return "";
      var wanted = stored["filter-" + name] || "";
      select.value = wanted;
      if (select.value !== wanted) select.value = "";
      return select.value;
    };
    var verdict = chosen("verdict"), type = chosen("type");
    var most = stored.allAnswers ? Infinity : Number(cards.dataset.first), fitting = 0;
    Array.from(cards.children).forEach(function (card) {
      var fits = (verdict === "" || card.dataset.verdict.split(" ").indexOf(verdict) >= 0) &&
        (type === "" || card.dataset.type === type);
      if (fits) fitting++;
      card.hidden = !fits || fitting > most;
    });
    if (filters) {
      filters.hidden = false;
      document.getElementById("filtered").textContent =
        fitting + (fitting === 1 ? " answer" : " answers");
    }
    var more = document.getElementById("more-answers");
    more.hidden = fitting <= most;
    more.textContent = "Show all " + fitting;
  }
  document.addEventListener("change", function (event) {
    if (!/^filter-/.test(event.target.id)) return;
    store(event.target.id, event.target.value);
    filterAnswers();
  });
  document.addEventListener("click", function (event) {
    if (event.target.id !== "more-answers") return;
    store("allAnswers", true);
    filterAnswers();
  });
  filterAnswers();

  function offerCopies() { document.querySelectorAll("button[data-copy][hidden]").forEach(function (button) {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", function () {
      var text = button.parentElement.querySelector("pre").textContent;
      navigator.clipboard.writeText(text).then(function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = "Copy"; }, 1500);
      }, function () { button.hidden = true; });
    });
  }); }
  offerCopies();

  // Takes over a newer state of this page, with the charts, scroll position and unfolded parts as they are.
  function adopt(text) {
    var next = new DOMParser().parseFromString(text, "text/html");
    var drawn = JSON.parse(next.getElementById("report-data").textContent).charts;
    var curves = document.querySelector("main > [aria-labelledby=curves]");
    var lines = function (list) {
      return JSON.stringify(list.map(function (c) { return [c.title, c.series.map(function (s) { return s.key; })]; }));
    };
    if (!curves || lines(drawn) !== lines(charts) || (!slider && next.getElementById("smoothing"))) return location.reload();
    document.querySelector("header.top").replaceWith(document.importNode(next.querySelector("header.top"), true));
    document.title = next.title;
    var main = document.querySelector("main"), open = {};
    Array.from(main.childNodes).forEach(function (node) {
      if (node === curves) return;
      if (node.querySelectorAll) node.querySelectorAll("details[open] > summary").forEach(function (s) { open[s.textContent] = true; });
      node.remove();
    });
    var place = curves;
    Array.from(next.querySelector("main").childNodes).forEach(function (node) {
      if (node.nodeType === 1 && node.getAttribute("aria-labelledby") === "curves") { place = null; return; }
      main.insertBefore(document.importNode(node, true), place);
    });
    main.querySelectorAll("details > summary").forEach(function (s) { if (open[s.textContent]) s.parentElement.open = true; });
    charts.forEach(function (chart, i) {
      chart.series = drawn[i].series;
      chart.joined = join(chart.series);
      chart.figure.querySelector(".plot").setAttribute("aria-label", next.getElementById("chart-" + i).querySelector(".plot").getAttribute("aria-label"));
    });
    drawAll();
    filterAnswers();
    offerCopies();
    if (!next.getElementById("reload")) reload.parentElement.remove();
  }

  var reload = document.getElementById("reload");
  if (reload) {
    reload.checked = stored.reload === undefined ? !still.matches : stored.reload;
    reload.addEventListener("change", function () { store("reload", reload.checked); });
    var touched = 0, served = /^http/.test(location.protocol), mark = "";
    ["pointermove", "keydown", "wheel", "touchmove"].forEach(function (kind) {
      addEventListener(kind, function () { touched = Date.now(); }, { passive: true });
    });
    setInterval(function () {
      var selecting = String(getSelection()) !== "";
      if (!reload.checked || !reload.isConnected || document.hidden || selecting) return;
      if (!served) { if (Date.now() - touched > 5000) location.reload(); return; }
      fetch(location.href, { cache: "no-store", headers: { "if-none-match": mark } }).then(function (response) {
        mark = response.headers.get("etag") || "";
        return response.status === 200 ? response.text().then(adopt) : undefined;
      }).catch(function () {
        reload.nextSibling.textContent = " Not updated any more: the run's server cannot be reached";
      });
    }, served ? 2000 : 10000);
  }
})();
`;
