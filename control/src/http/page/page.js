// The page of the exporter: it draws what /v1/live tells, once a second, and says so when that ends.
// A figure stands here as in `wirepace status`; rates are made of two looks at the same run.
"use strict";

const BAND_NS = 600e9;
const LOOKS_KEPT = 120;
const WORST_SHOWN = 8;
// Of what comes once a second.
const SILENCE_MS_MIN = 3500;
const AGAIN_AFTER_MS = 2000;

const $ = (id) => document.getElementById(id);
let now = null;
let before = null;
let heardAt = performance.now();
let gapMs = 0;
let refused = false;
const looks = new Map();
const bands = new Map();

// A counter may be larger than what a number of JavaScript holds exactly.
const exact = (key, value, context) =>
  (key === "value" && Number.isInteger(value) && !Number.isSafeInteger(value) && context ? BigInt(context.source) : value);

// --- figures ------------------------------------------------------------------------------------

const rows = (status, name) => {
  const of = status?.counters?.[name];
  if (of === undefined) return [];
  return Array.isArray(of) ? of : [{ value: of }];
};
const sum = (status, name, labels = {}) => rows(status, name)
  .filter((row) => Object.entries(labels).every(([key, value]) => row[key] === value))
  .reduce((all, row) => all + Number(row.value), 0);
// Every KPI, what depends on the machine too, with its name.
const kpis = (status) => {
  const { host = {}, ...packets } = status?.kpis ?? {};
  const all = [...Object.entries(packets), ...Object.entries(host)];
  return all.filter(([, kpi]) => Array.isArray(kpi?.series));
};
const series = (name, labels = {}) => {
  const found = kpis(now).find(([known]) => known === name);
  return (found?.[1].series ?? [])
    .filter((row) => Object.entries(labels).every(([key, value]) => row[key] === value));
};
const worst = (name, value, labels) => {
  const values = series(name, labels).map((row) => row[value]).filter((one) => typeof one === "number");
  return values.length ? Math.max(...values) : null;
};
const seconds = () => {
  const isNext = before && now.at_ns > before.at_ns && now.uptime_s > before.uptime_s;
  return isNext ? (now.at_ns - before.at_ns) / 1e9 : null;
};
const rate = (of) => {
  const passed = seconds();
  return passed === null ? null : Math.max(0, of(now) - of(before)) / passed;
};

const or = (value, say) => (value === null || value === undefined ? "-" : say(value));
const grouped = (n) => (typeof n === "bigint" || Number.isInteger(n) ? n.toLocaleString("en-US") : String(n));
const short = (n) => {
  let unit = "";
  for (const next of ["k", "M", "G"]) {
    if (Math.abs(n) < 999.5) break;
    n /= 1e3;
    unit = next;
  }
  const size = Math.abs(n);
  const digits = size >= 99.95 || (unit === "" && Number.isInteger(n)) ? 0 : size >= 9.995 ? 1 : 2;
  return n.toFixed(digits) + unit;
};
const span = (ns) => {
  const size = Math.abs(ns);
  if (size < 1e3) return `${ns.toFixed(0)} ns`;
  if (size < 1e6) return `${(ns / 1e3).toFixed(1)} us`;
  if (size < 1e9) return `${(ns / 1e6).toFixed(1)} ms`;
  return `${(ns / 1e9).toFixed(1)} s`;
};
const age = (s) => {
  if (s < 90) return `${s.toFixed(0)} s`;
  if (s < 5400) return `${(s / 60).toFixed(0)} min`;
  if (s < 172800) return `${(s / 3600).toFixed(1)} h`;
  return `${(s / 86400).toFixed(1)} d`;
};
const labelled = (row, without) => Object.entries(row)
  .filter(([key, value]) => typeof value === "string" && !without.includes(key))
  .map(([key, value]) => `${key}=${value}`)
  .sort().join(" ");

// --- drawing ------------------------------------------------------------------------------------

const element = (name, look = {}, inside = []) => {
  const made = document.createElement(name);
  Object.assign(made, look);
  made.append(...inside);
  return made;
};
const drawn = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// Cells are texts, or { text, to } for a link. Columns whose name begins with "#" hold numbers, with "~"
// long texts. Rows that stay are not made anew, so that what is selected stays selected.
const table = (id, head, cells, whenEmpty) => {
  const place = $(id);
  const look = (n) => ({ "#": "number", "~": "wrap" })[head[n][0]] ?? "";
  const said = head.join();
  if (place.dataset.head !== said) {
    place.dataset.head = said;
    const names = head.map((name, n) => element("th", { textContent: name.replace(/^[#~]/, ""), className: look(n), scope: "col" }));
    place.replaceChildren(element("thead", {}, [element("tr", {}, names)]), element("tbody"));
  }
  const body = place.tBodies[0];
  if (cells.length === 0) {
    body.replaceChildren(element("tr", {}, [element("td", { textContent: whenEmpty, colSpan: head.length })]));
    return;
  }
  while (body.rows.length > cells.length) body.lastChild.remove();
  cells.forEach((row, at) => {
    const line = body.rows[at] ?? body.appendChild(element("tr"));
    if (line.cells.length !== row.length) {
      line.replaceChildren(...row.map((_, n) => element("td", { className: look(n) })));
    }
    row.forEach((cell, n) => {
      const text = String(cell.text ?? cell);
      const to = cell.to ?? "";
      const td = line.cells[n];
      if (td.textContent === text && (td.dataset.to ?? "") === to) return;
      td.dataset.to = to;
      td.replaceChildren(to ? element("a", { href: to, textContent: text }) : text);
    });
  });
};

const tile = (what, text, line) => {
  const made = element("div", { className: "tile" }, [
    element("div", { className: "what", textContent: what }),
    element("div", { className: "now", textContent: text }),
  ]);
  const top = Math.max(...line, 1e-9);
  const points = line.map((value, at) => `${LOOKS_KEPT - line.length + at},${27 - (value / top) * 25}`);
  const chart = drawn("svg", { viewBox: `0 0 ${LOOKS_KEPT - 1} 28`, preserveAspectRatio: "none", "aria-hidden": "true" });
  chart.append(drawn("polyline", { points: points.join(" ") }));
  made.append(chart);
  return made;
};

const keep = (what, value) => {
  const line = looks.get(what) ?? [];
  if (value !== null) line.push(value);
  looks.set(what, line.slice(-LOOKS_KEPT));
};
const TILES = {
  "sent/s": [() => rate((status) => sum(status, "packets_out")), short],
  "dropped/s": [() => rate((status) => sum(status, "drops")), short],
  "held packets": [() => sum(now, "held"), grouped],
  "late, p99 of the worst class": [() => worst("release_error_ns", "p99", { part: "late" }), span],
  "dispatch to wire, p99 of the worst class": [() => worst("dispatch_to_wire_ns", "p99"), span],
  "cycles/packet": [() => worst("cycles_per_packet", "value"), (cycles) => cycles.toFixed(0)],
};

const machines = () => [...(now.regime?.machines ?? [])].sort((a, b) => b.severity - a.severity);
const key = (machine) => `${machine.machine} ${machine.scope}`;
// One that has never changed its state is in it since the start.
const since = (machine) => machine.since_ns ?? now.at_ns - now.uptime_s * 1e9;
const remember = () => {
  for (const machine of machines()) {
    const known = bands.get(key(machine)) ?? [];
    const last = known.at(-1);
    if (last?.state !== machine.state || last.since_ns !== machine.since_ns) {
      known.push({ ...machine, since: since(machine) });
    }
    while (known.length > 1 && known[1].since < now.at_ns - BAND_NS) known.shift();
    bands.set(key(machine), known);
  }
};
const band = (machine) => {
  const start = now.at_ns - BAND_NS;
  const chart = drawn("svg", { viewBox: "0 0 1000 26", preserveAspectRatio: "none", role: "img", "aria-label": `${key(machine)} ${machine.state}` });
  const known = bands.get(key(machine));
  known.forEach((stay, at) => {
    const from = Math.max(stay.since, start);
    const until = known[at + 1]?.since ?? now.at_ns;
    if (until <= start) return;
    const height = 5 + stay.severity * 7;
    const rect = drawn("rect", {
      x: ((from - start) / BAND_NS) * 1000, width: Math.max(((until - from) / BAND_NS) * 1000, 1),
      y: 26 - height, height, class: `s${Math.min(stay.severity, 3)}`,
    });
    const title = drawn("title", {});
    title.textContent = `${stay.state} for ${age((until - stay.since) / 1e9)}`;
    rect.append(title);
    chart.append(rect);
  });
  const held = age((now.at_ns - since(machine)) / 1e9);
  return element("div", { className: "band" }, [
    element("div", {}, [
      element("div", { className: "who", textContent: key(machine) }),
      element("div", { className: "state", textContent: `${machine.state} for ${held}` }),
    ]),
    chart,
  ]);
};
const drawBands = (id, some) => {
  const none = element("p", { className: "note", textContent: "no machine runs" });
  $(id).replaceChildren(...(some.length ? some.map(band) : [none]));
};

// --- sections -----------------------------------------------------------------------------------

const overview = () => {
  $("tiles").replaceChildren(...Object.entries(TILES)
    .map(([what, [of, say]]) => tile(what, or(of(), say), looks.get(what) ?? [])));
  drawBands("worst", machines().slice(0, WORST_SHOWN));

  table("classes", ["class", "#pkt/s", "#bit/s", "#cap", "#of cap", "#held", "#late p50", "#late p99"],
    (now.classes ?? []).map(({ name, cap_bits_per_s: cap }) => {
      const of = (counter) => rate((status) => sum(status, counter, { class: name }));
      const [packets, bytes] = [of("packets_out"), of("bytes_out")];
      // Preamble, FCS and gap are on the wire too.
      const bits = packets === null ? null : (bytes + 24 * packets) * 8;
      const late = (value) => or(series("release_error_ns", { class: name, part: "late" })[0]?.[value], span);
      return [{ text: name, to: `#kpis:${name}` }, or(packets, short), or(bits, short), or(cap, short),
        cap && bits !== null ? `${((bits / cap) * 100).toFixed(0)}%` : "-",
        grouped(sum(now, "held", { class: name })), late("p50"), late("p99")];
    }), "no class");

  table("ports", ["port", "side", "link", "#in/s", "#out/s", "#flows", "#device missed"],
    (now.ports ?? []).map(({ name, side, link }) => {
      const of = (counter) => or(rate((status) => sum(status, counter, { port: name })), short);
      return [{ text: name, to: `#counters:port=${name}` }, side, link ?? "-", of("device_packets_in"), of("device_packets_out"),
        grouped(sum(now, "flows", { port: name })), grouped(sum(now, "device_missed", { port: name }))];
    }), "no port");

  table("cores", ["core", "phase", "#busy", "#stalls", "profile"],
    (now.cores ?? []).map(({ core, cpu, phase, profile }) => {
      const of = (counter) => (status) => sum(status, counter, { core: String(core) });
      const [busy, all] = [rate(of("core_busy_cycles")), rate(of("core_cycles"))];
      return [cpu === null ? String(core) : `${core} (CPU ${cpu})`, phase,
        all ? `${((busy / all) * 100).toFixed(1)}%` : "-", grouped(of("core_stalls")(now)), profile];
    }), "no core");

  const drops = new Map();
  for (const row of rows(now, "drops").filter((row) => row.value > 0)) {
    const { reason, port = "-", class: name = "-" } = row;
    const at = JSON.stringify([reason, port, name]);
    drops.set(at, (drops.get(at) ?? 0) + row.value);
  }
  table("drops", ["reason", "port", "class", "#packets", "#per s"],
    [...drops].map(([at, packets]) => {
      const [reason, port, name] = JSON.parse(at);
      const labels = { reason, ...(port === "-" ? {} : { port }), ...(name === "-" ? {} : { class: name }) };
      return [{ text: reason, to: `#counters:drops reason=${reason}` }, port, name, grouped(packets),
        or(rate((status) => sum(status, "drops", labels)), short)];
    }), "nothing ended here");

  const alarms = Object.keys(now.counters ?? {}).filter((name) => name.startsWith("alarm_"));
  table("alarms", ["alarm", "where", "#times"],
    alarms.flatMap((name) => rows(now, name).filter((row) => row.value > 0)
      .map((row) => [{ text: name, to: `#counters:${name}` }, labelled(row, []), grouped(row.value)])), "none");
};

const regimes = () => {
  drawBands("bands", machines());
  table("machines", ["machine", "scope", "state", "#severity", "#for", "asks for", ""],
    machines().map((machine) => [machine.machine, machine.scope, machine.state, machine.severity,
      age((now.at_ns - since(machine)) / 1e9), machine.profile ?? "-",
      [machine.pinned_until_ns ? "pinned" : "", machine.frozen ? "frozen" : "", machine.held_off ? "held off" : ""].filter(Boolean).join(", ")]),
    "no machine runs");
};

const wanted = (id) => {
  const words = $(id).value.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => {
    const text = row.map((cell) => cell.text ?? cell).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
};
const kpiRows = () => kpis(now).flatMap(([name, kpi]) => kpi.series.map((row) => {
  const values = Object.entries(row).filter(([key, value]) => key !== "n" && typeof value === "number");
  const say = (value) => (kpi.unit === "ns" ? span(value) : Number.isInteger(value) ? grouped(value) : value.toPrecision(4));
  const said = values.map(([key, value]) => (values.length === 1 ? say(value) : `${key} ${say(value)}`)).join("  ");
  return [name, said || `absent: ${row.absent ?? "no value"}`, kpi.unit || "-",
    labelled(row, ["absent", "view", "arrival", "departure", "intent", "basis"]), grouped(row.n), row.basis ?? "-"];
}));
const drawKpis = () => table("kpis-rows", ["~KPI", "~value", "unit", "~of", "#n", "basis"], kpiRows().filter(wanted("kpis-filter")), "nothing has all of these words");

const drawCounters = () => {
  const all = Object.keys(now.counters ?? {}).flatMap((name) => rows(now, name).map((row) => [name, grouped(row.value), labelled(row, [])]));
  table("counters-rows", ["~name", "#value", "~of"], all.filter(wanted("counters-filter")), "nothing has all of these words");
};

const SECTIONS = { overview, regimes, kpis: drawKpis, counters: drawCounters };
const shown = () => {
  const [, name, filter] = /^#?([a-z]*):?(.*)$/.exec(decodeURIComponent(location.hash)) ?? [];
  return { name: name in SECTIONS ? name : "overview", filter };
};

const draw = () => {
  const { name } = shown();
  for (const section of Object.keys(SECTIONS)) $(section).hidden = section !== name;
  for (const link of document.querySelectorAll("nav a")) {
    link.toggleAttribute("aria-current", link.hash === `#${name}`);
  }
  if (!now) return;
  document.title = `${now.name ?? "host"} - wirepace`;
  $("name").textContent = now.name ?? "wirepace";
  const { version, uptime_s: up, config, config_digest: digest, profile, regime } = now;
  $("facts").textContent = [
    version && `wirepace ${version}`, up !== undefined && `up ${age(up)}`,
    config?.revision ? `config revision ${config.revision}` : digest && `config ${digest.slice(0, 12)}`,
    profile?.in_force && `profile ${[...new Set(profile.in_force)].join(", ")}`, regime && `mode ${regime.mode}`,
  ].filter(Boolean).join(", ");
  const notices = Object.entries(now.stop_words ?? {}).map(([scope, word]) => `${scope}: ${word}`);
  for (const { name, link } of now.ports ?? []) {
    if (link === "down" || link === "removed") notices.push(`port ${name} is ${link}`);
  }
  if (profile?.pinned) notices.push(`profile ${profile.pinned} is pinned`);
  if (typeof config?.confirm_left_s === "number") notices.push(`config not confirmed: it goes back in ${age(config.confirm_left_s)}`);
  $("notice").hidden = notices.length === 0;
  $("notice").textContent = notices.join(", ");
  SECTIONS[name]();
};

// --- the stream ---------------------------------------------------------------------------------

const say = (state, text) => {
  document.documentElement.dataset.stream = state;
  $("stream").textContent = text;
};
const look = (status) => {
  if (status === null) return;
  if (now && status.uptime_s < now.uptime_s) {
    // Another run: what was before is no part of it.
    now = null;
    looks.clear();
    bands.clear();
  }
  before = now;
  now = status;
  for (const [what, [of]] of Object.entries(TILES)) keep(what, of());
  remember();
  draw();
};
const listen = () => {
  const stream = new EventSource("/v1/live");
  stream.addEventListener("status", (event) => {
    gapMs = now ? performance.now() - heardAt : 0;
    heardAt = performance.now();
    refused = false;
    say("live", "live");
    look(JSON.parse(event.data, exact));
  });
  stream.onerror = () => {
    // A stream that broke is opened again by the browser, one that was refused is not.
    if (stream.readyState !== EventSource.CLOSED) return;
    refused = true;
    setTimeout(listen, AGAIN_AFTER_MS);
  };
};
setInterval(() => {
  const silent = performance.now() - heardAt;
  if (silent < Math.max(SILENCE_MS_MIN, 3 * gapMs)) return;
  const why = refused ? "refused: the gateway is away, or serves as many pages as it may" : "lost";
  say("lost", `${why}; what stands here is ${age(silent / 1e3)} old`);
}, 500);
addEventListener("hashchange", () => {
  const { name, filter } = shown();
  const input = $(`${name}-filter`);
  if (input && filter) input.value = filter;
  draw();
});
for (const name of ["kpis", "counters"]) $(`${name}-filter`).addEventListener("input", draw);
const first = shown();
if (first.filter && $(`${first.name}-filter`)) $(`${first.name}-filter`).value = first.filter;
say("waits", "connects");
draw();
listen();
