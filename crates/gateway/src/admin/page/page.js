
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const POINTS_MAX = 300;
  const STALE_AFTER_MS = 3500;
  const RETRY_MS = 3000;

  // Layers of the first chart, from below. What a limit refused is counted as 4xx too: it is taken out.
  const LAYERS = [
    { name: "2xx", color: "ok", of: (p) => p.statuses[1] },
    { name: "3xx", color: "moved", of: (p) => p.statuses[0] + p.statuses[2] },
    { name: "refused", color: "refused", of: (p) => Math.min(p.refused, p.statuses[3]) },
    { name: "4xx", color: "client", of: (p) => Math.max(0, p.statuses[3] - p.refused) },
    { name: "5xx", color: "server", of: (p) => p.statuses[4] + p.statuses[5] },
  ];
  const LINES = ["p50", "p90", "p99"].map((name) => ({ name, color: name, of: (p) => p.latency[name] }));

  let points = [];
  let stats = null;
  let heardAt = 0;
  let connected = false;

  // Text and numbers. Names come from the configuration and are set as text, never as markup.

  function text(id, value) {
    const element = $(id);
    if (element.textContent !== value) element.textContent = value;
  }
  function make(tag, parent, kind, content) {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (content !== undefined) element.textContent = content;
    if (parent) parent.append(element);
    return element;
  }
  function rate(value) {
    if (value === 0) return "0";
    if (value < 10) return value < 0.1 ? "<0.1" : value.toFixed(1);
    return count(value);
  }
  function count(value) {
    if (value >= 1e9) return (value / 1e9).toFixed(1) + " G";
    if (value >= 1e7) return (value / 1e6).toFixed(1) + " M";
    return Math.round(value).toLocaleString("en");
  }
  function millis(value) {
    if (value === null || value === undefined) return "–";
    if (value >= 9950) return (value / 1000).toFixed(0) + " s";
    if (value >= 995) return (value / 1000).toFixed(1) + " s";
    if (value >= 99.5) return value.toFixed(0) + " ms";
    return value.toFixed(value >= 9.95 ? 1 : 2) + " ms";
  }
  function axisMillis(value) {
    return value >= 1000 ? `${value / 1000} s` : `${value} ms`;
  }
  function span(seconds) {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0) return "0 s";
    const [unit, size] = units[first];
    const whole = Math.floor(seconds / size);
    const next = units[first + 1];
    const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
    return rest ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
  }

  // Charts.

  function nice(value) {
    if (!(value > 0)) return 1;
    const step = 10 ** Math.floor(Math.log10(value));
    return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * step).find((m) => m >= value * 0.999);
  }
  // As long as what is known, up to what can be told apart.
  function secondsShown(width) {
    const known = points.length ? points[points.length - 1].t - points[0].t : 0;
    return [60, 120].find((s) => s >= known) ?? (width > 420 ? POINTS_MAX : 120);
  }
  function draw(svg, series, format, stacked, hover) {
    const width = svg.clientWidth;
    const height = svg.clientHeight;
    if (!width || !points.length) return;
    const floor = height - 16;
    const seconds = secondsShown(width);
    const end = points[points.length - 1].t;
    const seen = points.filter((p) => p.t >= end - seconds);
    const tops = seen.map((p) =>
      stacked ? series.reduce((sum, s) => sum + s.of(p), 0) : Math.max(...series.map((s) => s.of(p) ?? 0)));
    const top = nice(Math.max(...tops));
    const x = (t) => width - ((end - t) / seconds) * width;
    const y = (value) => floor - (value / top) * (floor - 12);
    const parts = [];
    const add = (tag, attributes, content) => {
      const element = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (content !== undefined) element.textContent = content;
      parts.push(element);
    };
    const grid = (value) => add("line", { class: "grid", x1: 0, x2: width, y1: Math.round(y(value)) + 0.5, y2: Math.round(y(value)) + 0.5 });
    grid(top);
    grid(top / 2);
    const below = seen.map(() => 0);
    for (const s of series) {
      const runs = [[]];
      seen.forEach((p, i) => {
        const value = s.of(p);
        const gap = i > 0 && p.t - seen[i - 1].t > 2;
        if (gap || value === null) runs.push([]);
        if (value === null) return;
        const low = below[i];
        if (stacked) below[i] = low + value;
        runs[runs.length - 1].push([x(p.t), y(low + value), y(low)]);
      });
      for (const run of runs.filter((r) => r.length)) {
        const at = ([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`;
        let path = "M" + run.map(at).join("L");
        if (stacked) {
          if (run.every(([, high, low]) => high === low)) continue;
          path += "L" + run.slice().reverse().map(([px, , py]) => at([px, py])).join("L") + "Z";
          add("path", { d: path, fill: `var(--${s.color})` });
        } else {
          // A single second is a dot.
          if (run.length === 1) path += "h0.1";
          add("path", { d: path, class: "line", stroke: `var(--${s.color})` });
        }
      }
    }
    grid(0);
    if (hover !== null) add("line", { class: "hair", x1: Math.round(x(hover)) + 0.5, x2: Math.round(x(hover)) + 0.5, y1: 12, y2: floor });
    add("text", { x: 0, y: y(top) - 3 }, format(top));
    add("text", { x: 0, y: y(top / 2) - 3 }, format(top / 2));
    const ticks = { 60: [45, 30, 15], 120: [90, 60, 30] }[seconds] ?? [240, 180, 120, 60];
    for (const tick of ticks) add("text", { x: x(end - tick), y: height - 2, "text-anchor": "middle" }, tick % 60 ? `−${tick} s` : `−${tick / 60} min`);
    add("text", { x: width, y: height - 2, "text-anchor": "end" }, "now");
    svg.replaceChildren(...parts);
  }
  class Chart {
    constructor(id, series, format, axis, stacked) {
      this.svg = $(id);
      this.series = series;
      this.format = format;
      this.axis = axis;
      this.stacked = stacked;
      this.hover = null;
      this.values = series.map((s) => {
        const item = make("li", $(id + "-legend"), s.color, s.name);
        return make("b", item, "", "–");
      });
      this.svg.addEventListener("pointermove", (event) => this.point(event));
      this.svg.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
      new ResizeObserver(() => this.draw()).observe(this.svg);
    }
    point(event) {
      if (!points.length) return;
      const box = this.svg.getBoundingClientRect();
      const seconds = secondsShown(box.width);
      const end = points[points.length - 1].t;
      const wanted = end - ((box.right - event.clientX) / box.width) * seconds;
      const nearest = points.reduce((a, b) => (Math.abs(b.t - wanted) < Math.abs(a.t - wanted) ? b : a));
      this.hover = nearest.t;
      this.draw();
    }
    draw() {
      draw(this.svg, this.series, this.axis, this.stacked, this.hover);
      const last = points[points.length - 1];
      const shown = this.hover === null ? last : points.find((p) => p.t === this.hover) ?? last;
      if (!shown) return;
      this.series.forEach((s, i) => { this.values[i].textContent = this.format(s.of(shown)); });
      this.svg.setAttribute("aria-label", "The last minutes; now " +
        this.series.map((s) => `${s.name} ${this.format(s.of(last))}`).join(", "));
    }
  }
  const flow = new Chart("flow", LAYERS, rate, rate, true);
  const latency = new Chart("latency", LINES, millis, axisMillis, false);
  for (const layer of LAYERS) make("li", $("routes-legend"), layer.color, layer.name);

  // Tables: rows stay as long as their names, so that what is selected stays selected.

  function rows(table, list, key, cells) {
    const body = $(table).tBodies[0];
    const all = list.rest ? [...list.shown, list.rest] : list.shown;
    const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
    const fresh = all.map((item, i) => {
      const isRest = i === list.shown.length;
      const name = isRest ? "\u0000rest" : key(item);
      const row = old.get(name) ?? document.createElement("tr");
      old.delete(name);
      row.dataset.key = name;
      row.classList.toggle("rest", isRest);
      cells(row, item, isRest ? `${count(list.others)} others` : null);
      return row;
    });
    for (const row of old.values()) row.remove();
    if (fresh.some((row, i) => body.rows[i] !== row)) body.replaceChildren(...fresh);
  }
  function cell(row, place, kind, value) {
    let element = row.cells[place];
    if (!element) {
      element = document.createElement(place === 0 ? "th" : "td");
      if (place === 0) element.scope = "row";
      row.append(element);
    }
    if (element.className !== kind) element.className = kind;
    if (value !== undefined && element.textContent !== value) {
      element.textContent = value;
      if (place === 0) element.title = value;
    }
    return element;
  }
  function bar(element, parts, whole) {
    let box = element.firstElementChild;
    if (!box) {
      box = make("span", element, "bar");
      box.setAttribute("aria-hidden", "true");
      for (const part of parts) make("i", box, part.color);
    }
    parts.forEach((part, i) => { box.children[i].style.width = `${whole > 0 ? (100 * part.value) / whole : 0}%`; });
  }
  const graded = (value, kind) => "n" + (value > 0 ? " " + kind : " zero");

  const open = (guards) => guards.breaker && guards.breaker !== "closed";
  const out = (e) => ["unhealthy", "ejected", "draining", "disabled"].includes(e.health);
  // What keeps requests from a route or an endpoint now, if anything does.
  function guarded(guards) {
    if (open(guards)) return `breaker ${guards.breaker}`;
    if (out(guards)) return guards.health;
    return guards.throttled > 0 ? `throttled ${Math.ceil(guards.throttled * 100)} %` : "";
  }
  function showRoutes() {
    // Bars are as long as the busiest route's.
    const busiest = Math.max(...stats.routes.shown.map((r) => r.rps), 0);
    rows("routes", stats.routes, (r) => r.id, (row, r, name) => {
      const admitted = Math.max(0, r.rps - r.refused);
      row.classList.toggle("quiet", r.rps === 0);
      const state = guarded(r);
      cell(row, 0, "", name ?? (state ? `${r.id} (${state})` : r.id));
      cell(row, 1, "text wide", r.upstream ?? "");
      bar(cell(row, 2, "mix"), LAYERS.map((l) => ({ color: l.color, value: l.of(r) })), Math.max(busiest, r.rps));
      cell(row, 3, graded(admitted, ""), rate(admitted));
      cell(row, 4, graded(r.refused, "limited"), rate(r.refused));
      cell(row, 5, graded(r.statuses[4], "bad") + " wide", rate(r.statuses[4]));
      cell(row, 6, "n wide", millis(r.latency.p50));
      cell(row, 7, "n wide", millis(r.latency.p90));
      cell(row, 8, "n", millis(r.latency.p99));
      cell(row, 9, "n wide", count(r.requests));
    });
  }
  function showEndpoints() {
    const busiest = Math.max(...stats.endpoints.shown.map((e) => e.rps), 0);
    rows("endpoints", stats.endpoints, (e) => `${e.upstream} ${e.endpoint}`, (row, e, name) => {
      const quiet = e.rps === 0 && e.failures === 0;
      row.classList.toggle("quiet", quiet);
      const title = cell(row, 0, "", name ?? e.endpoint);
      const held = name ? "" : guarded(e);
      // Where the last column has no room.
      if (held) title.dataset.state = held;
      else delete title.dataset.state;
      cell(row, 1, "text wide", e.upstream);
      bar(cell(row, 2, "mix"), [{ color: "load", value: e.rps }], Math.max(busiest, e.rps));
      cell(row, 3, graded(e.rps, ""), rate(e.rps));
      cell(row, 4, graded(e.failures, "bad"), rate(e.failures));
      cell(row, 5, graded(e.connections, ""), count(e.connections));
      cell(row, 6, "n wide", count(e.requests));
      cell(row, 7, graded(e.failed, "") + " wide", count(e.failed));
      const state = held ? [held, !open(e) || e.breaker === "half-open" ? "limited" : "server"]
        : e.failures > 0 ? ["failing", "server"] : quiet ? ["idle", ""] : ["in use", "ok"];
      const mark = cell(row, 8, "text wide");
      const sign = mark.firstElementChild ?? make("span", mark);
      sign.className = "mark " + state[1];
      sign.textContent = name ? "" : state[0];
    });
  }

  // A row of buttons for each switch; of those that are there only the pressed one changes.

  function showSwitches() {
    const off = stats.changes === "off";
    $("switches-card").hidden = !stats.switches.length;
    const list = $("switches");
    stats.switches.forEach((s, place) => {
      let item = list.children[place];
      if (item?.dataset.name !== s.name) {
        while (list.children.length > place) list.lastElementChild.remove();
        item = make("li", list);
        item.dataset.name = s.name;
        make("span", item, "", s.name);
        const group = make("div", item, "words");
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", s.name);
        for (const word of s.words) {
          const button = make("button", group, "", word);
          button.type = "button";
          button.addEventListener("click", () => put(s.name, word));
        }
      }
      for (const button of item.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.textContent === s.word));
        button.disabled = off;
      }
    });
    while (list.children.length > stats.switches.length) list.lastElementChild.remove();
  }

  // What a report says.

  function show() {
    const now = stats.now;
    const flowing = now ?? { rps: 0, refused: 0, cut: 0, statuses: [0, 0, 0, 0, 0, 0], latency: {} };
    const totals = stats.totals;
    text("t-rps", rate(flowing.rps));
    text("t-total", `${count(totals.requests)} in all`);
    for (const { name } of LINES) {
      const [value, unit] = millis(flowing.latency[name]).split(" ");
      text(`t-${name}`, value);
      text(`t-${name}-unit`, unit ?? "");
    }
    text("t-refused", rate(flowing.refused));
    text("t-refused-total", `${count(totals.refused)} in all`);
    text("t-errors", rate(flowing.statuses[4]));
    text("t-cut", `${rate(flowing.cut)} cut off`);
    text("t-flight", count(totals.in_flight));
    text("t-connections", count(totals.connections));
    text("t-accept", totals.accept_errors ? `${count(totals.accept_errors)} not accepted` : "of clients");
    text("version", stats.version);
    text("generation", `no. ${stats.config.generation}`);
    text("c-generation", String(stats.config.generation));
    text("c-restart", stats.config.restart.join(", ") || "nothing more");
    $("reload").hidden = stats.changes === "off";
    $("token-label").hidden = stats.changes !== "token";
    text("c-error", stats.config.error ?? "none");
    $("c-error").className = stats.config.error ? "bad" : "";
    for (const place of document.querySelectorAll(".window")) place.textContent = `per second, over ${stats.window || 0} s`;
    const alerts = [];
    if (stats.config.error) alerts.push(`The last configuration was refused, the one before is in force: ${stats.config.error}`);
    if (totals.log_lines_dropped) alerts.push(`${count(totals.log_lines_dropped)} lines of the access log were lost: its writer is behind.`);
    $("alert").hidden = !alerts.length;
    text("alert", alerts.join("\n"));
    showRoutes();
    showEndpoints();
    showSwitches();
    flow.draw();
    latency.draw();
    age();
  }
  function age() {
    const silent = Date.now() - heardAt;
    let state = ["waiting", "connecting"];
    if (stats && silent > STALE_AFTER_MS) state = ["stale", `no news for ${span(Math.floor(silent / 1000))}`];
    else if (stats && !connected) state = ["lost", "connection lost, trying again"];
    else if (stats) state = stats.ready ? ["serving", "serving"] : ["draining", "draining"];
    $("state").dataset.state = state[0];
    // Only a change of state is read out, not each second of silence.
    if (state[0] === "stale") $("state").setAttribute("aria-live", "off");
    else $("state").removeAttribute("aria-live");
    text("state", state[1]);
    $("main").classList.toggle("stale", state[0] === "stale");
    if (!stats) return;
    const wall = Date.now() / 1000;
    text("uptime", span(Math.max(0, wall - stats.started)));
    const loaded = new Date(stats.config.loaded * 1000);
    text("c-loaded", `${loaded.toLocaleString("sv")} (${span(Math.max(0, wall - stats.config.loaded))} ago)`);
  }
  setInterval(age, 1000);

  // The stream. The browser connects again by itself, unless it was refused.

  function listen() {
    const source = new EventSource("/events");
    const heard = () => { heardAt = Date.now(); connected = true; };
    source.addEventListener("hello", (event) => {
      const hello = JSON.parse(event.data);
      points = hello.history.slice(-POINTS_MAX);
      stats = hello.stats;
      heard();
      show();
    });
    source.addEventListener("stats", (event) => {
      stats = JSON.parse(event.data);
      const last = points[points.length - 1];
      if (stats.now && (!last || stats.now.t > last.t)) points.push(stats.now);
      if (points.length > POINTS_MAX) points.shift();
      heard();
      show();
    });
    source.onerror = () => {
      connected = false;
      age();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
    };
  }
  listen();

  // Explain.

  async function explain() {
    const query = new URLSearchParams({ url: $("x-url").value.trim(), method: $("x-method").value });
    for (const line of $("x-fields").value.split("\n")) if (line.trim()) query.append("header", line);
    const box = $("explained");
    try {
      const reply = await fetch("/explain?" + query);
      const told = await reply.json();
      box.replaceChildren();
      if (!reply.ok) {
        make("b", make("p", box, "verdict no"), "", told.detail);
        return;
      }
      const verdict = make("p", box, told.answer ? "verdict no" : "verdict");
      if (told.route) {
        verdict.append("takes the route ");
        make("em", verdict, "", told.route);
      }
      if (told.answer) {
        verdict.append(told.route ? ", and is answered " : "is answered ");
        make("b", verdict, "", String(told.answer.status));
        verdict.append(`: ${told.answer.detail}`);
      }
      const steps = make("ol", box, "steps");
      for (const step of told.steps) {
        const item = make("li", steps);
        const title = make("b", item, "", step.step.replace("_", " "));
        if (step.name) make("em", title, "", ` ${step.name}`);
        make("span", item, "", step.does);
      }
      if (told.others.length) {
        const more = make("details", box);
        const others = told.others.length + told.others_left_out;
        make("summary", more, "", others === 1 ? "Why not the other route" : `Why not one of the other ${count(others)} routes`);
        const list = make("ul", more);
        for (const other of told.others) {
          const item = make("li", list);
          make("b", item, "", other.route);
          make("span", item, "", ` ${other.why}`);
        }
        if (told.others_left_out) make("li", list, "", `and ${count(told.others_left_out)} more`);
      }
    } catch {
      box.replaceChildren();
      make("b", make("p", box, "verdict no"), "", "The gateway cannot be reached.");
    }
  }
  // Changes. A token stays in its field, and goes nowhere else.

  function change(path) {
    const token = $("token").value.trim();
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    return fetch(path, { method: "POST", headers });
  }

  async function put(name, word) {
    const told = $("switched");
    try {
      const reply = await change(`/switches/set?${new URLSearchParams({ name, word })}`);
      told.textContent = reply.ok ? "" : (await reply.json()).detail;
    } catch {
      told.textContent = "The gateway cannot be reached.";
    }
  }

  async function reload() {
    const told = $("reloaded");
    $("reload").querySelector("button").disabled = true;
    try {
      const reply = await change("/reload");
      const result = await reply.json();
      told.className = reply.ok ? "" : "bad";
      if (!reply.ok) told.textContent = result.detail;
      else if (result.changed) told.textContent = `Configuration ${result.generation} is in force.`;
      else told.textContent = "The file says what is in force.";
    } catch {
      told.className = "bad";
      told.textContent = "The gateway cannot be reached.";
    }
    $("reload").querySelector("button").disabled = false;
  }
  $("reload").addEventListener("submit", (event) => {
    event.preventDefault();
    reload();
  });

  $("explain").addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
})();
