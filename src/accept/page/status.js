// The operator's page: asks for the figures once a second while somebody looks, and draws them.
//
// In:       status.json, its shape as the README has it.
// Out:      cards with plots, each with a table beside it that says the same in numbers.
// Bounds:   one request at a time, EVERY_MS apart and further apart while they fail; POINTS points
//           of each line. A page in the background asks for nothing.
// Not here: who may read the figures: the relay decides, and this page only asks for the token.

const EVERY_MS = 1000;
const FAILED_MAX_MS = 30000;
const TIMEOUT_MS = 5000;
const POINTS = 300;

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/// An element with attributes and children; texts are only ever texts.
function make(name, attributes = {}, ...children) {
  const isSvg = ["svg", "path", "rect", "line", "text", "g"].includes(name);
  const element = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

// ------------------------------------------------------------------------------------- numbers

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const words = (label) => label.replaceAll("_", " ");

function count(value) {
  return value === null || value === undefined ? "–" : whole.format(value);
}

function time(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1e3) return `${short.format(us)} µs`;
  if (us < 1e6) return `${short.format(us / 1e3)} ms`;
  return `${short.format(us / 1e6)} s`;
}

function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = Math.max(0, parts.findIndex(([size]) => seconds >= size));
  const at = seconds < 1 ? 3 : first;
  let rest = seconds;
  return parts.slice(at, at + 2).map(([size, unit]) => {
    const many = Math.floor(rest / size);
    rest -= many * size;
    return `${many} ${unit}`;
  }).join(" ");
}

function bytes(value) {
  return value === null ? "–" : `${short.format(value / 2 ** 20)} MiB`;
}

const sum = (values) => Object.values(values).reduce((all, one) => all + one, 0);

// -------------------------------------------------------------------------------------- tables

/// Fills a table: rows of cells, the first of which is the row's head. A cell may be an element.
function fill(table, rows, nothing = "nothing yet") {
  const cells = (row) => row.map((cell, at) => {
    const head = at === 0 ? make("th", { scope: "row" }, cell) : make("td", {}, cell);
    return head;
  });
  const wide = table.tHead ? table.tHead.rows[0].cells.length : 2;
  const empty = [make("tr", {}, make("td", { class: "empty", colspan: wide }, nothing))];
  const body = rows.length ? rows.map((row) => make("tr", {}, ...cells(row))) : empty;
  table.tBodies[0].replaceChildren(...body);
}

function table(caption, heads) {
  const made = make("table", {}, make("caption", {}, caption));
  const head = heads.map((text) => make("th", { scope: "col" }, text));
  made.append(make("thead", {}, make("tr", {}, ...head)), make("tbody"));
  return made;
}

/// Rows of an object of counts, the most frequent first.
const ranked = (counts) => Object.entries(counts)
  .sort(([, a], [, b]) => b - a)
  .map(([label, many]) => [words(label), count(many)]);

function card(title, ...children) {
  const id = `card-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  const section = make("section", { "aria-labelledby": id }, make("h2", { id }, title), ...children);
  $("figures").append(section);
  return section;
}

const scroll = (inner) => make("div", { class: "scroll" }, inner);

// --------------------------------------------------------------------------------------- plots

const WIDE = 420;
const HIGH = 110;
const LEFT = 44;
const FOOT = 16;

function canvas(label) {
  return make("svg", {
    class: "plot", viewBox: `0 0 ${WIDE} ${HIGH + FOOT}`, role: "img", "aria-label": label,
  });
}

/// A bound for an axis whose half is easy to read, too: 2, 4 or 10 times a power of ten.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return power * [2, 4, 10].find((step) => step * power >= value);
}

/// Lines over the last minutes, and a table of what they are now, on average and at most.
class Lines {
  constructor(label, unit, names) {
    this.names = names;
    this.unit = unit;
    this.points = [];
    this.label = label;
    this.svg = canvas(label);
    this.table = table(label, ["", "now", "mean", "most"]);
    this.element = make("div", { class: "pair" }, this.svg, scroll(this.table));
  }

  add(values) {
    this.points.push(values);
    if (this.points.length > POINTS) this.points.shift();
    this.draw();
  }

  draw() {
    const known = this.points.flat().filter((value) => value !== null);
    const top = ceiling(Math.max(0, ...known));
    const step = (WIDE - LEFT) / (POINTS - 1);
    const from = WIDE - (this.points.length - 1) * step;
    const y = (value) => HIGH - (value / top) * (HIGH - 8);
    const parts = [0, top / 2, top].flatMap((value) => [
      make("line", { class: "grid", x1: LEFT, x2: WIDE, y1: y(value), y2: y(value) }),
      make("text", { x: LEFT - 5, y: y(value) + 3, "text-anchor": "end" }, this.unit(value)),
    ]);
    this.names.forEach(([, style], at) => {
      let pen = "M";
      const path = this.points.map((values, index) => {
        if (values[at] === null) return (pen = "M"), "";
        const to = `${pen}${(from + index * step).toFixed(1)} ${y(values[at]).toFixed(1)}`;
        pen = "L";
        return to;
      });
      parts.push(make("path", { class: `series ${style}`, d: path.join("") }));
    });
    parts.push(
      make("text", { x: LEFT, y: HIGH + FOOT - 3 }, `${(POINTS * EVERY_MS) / 60000} min ago`),
      make("text", { x: WIDE, y: HIGH + FOOT - 3, "text-anchor": "end" }, "now"),
    );
    this.svg.replaceChildren(...parts);
    fill(this.table, this.names.map(([name, style], at) => {
      const values = this.points.map((point) => point[at]).filter((value) => value !== null);
      const mean = values.reduce((all, one) => all + one, 0) / values.length;
      const cells = [this.points.at(-1)[at], mean, Math.max(...values)];
      return [
        make("span", { class: `key ${style}` }, name),
        ...cells.map((value) => (values.length && value !== null ? this.unit(value) : "–")),
      ];
    }));
  }
}

/// Bins begin at 10^(n/8) microseconds; drawn are those from 10 µs to 10 s, the others at the ends.
const BINS_PER_DECADE = 8;
const FIRST_BIN = BINS_PER_DECADE;
const BINS = 6 * BINS_PER_DECADE;

/// A histogram over a logarithmic axis, and a table of its quantiles.
class Latencies {
  constructor(name, meaning) {
    this.name = name;
    this.svg = canvas(name);
    this.table = table(`${name}, last seconds`, ["", ""]);
    this.table.tHead.hidden = true;
    this.table.caption.className = "unseen";
    this.many = make("small");
    this.element = make("div", { class: "stage" },
      make("h3", { title: meaning }, `${name} `, this.many), this.svg, this.table);
  }

  show(stage) {
    const bins = new Array(BINS).fill(0);
    for (const [bin, many] of stage.bins) {
      bins[Math.min(BINS - 1, Math.max(0, bin - FIRST_BIN))] += many;
    }
    const most = Math.max(1, ...bins);
    const x = (bin) => 6 + (bin / BINS) * (WIDE - 12);
    const parts = [make("line", { class: "axis", x1: 6, x2: WIDE - 6, y1: HIGH, y2: HIGH })];
    for (let decade = 0; decade <= 6; decade += 1) {
      const at = x(decade * BINS_PER_DECADE);
      const anchor = ["start", "middle", "end"][decade === 0 ? 0 : decade === 6 ? 2 : 1];
      parts.push(
        make("line", { class: "grid", x1: at, x2: at, y1: 4, y2: HIGH }),
        make("text", { x: at, y: HIGH + FOOT - 3, "text-anchor": anchor }, time(10 ** (decade + 1))),
      );
    }
    bins.forEach((many, bin) => {
      if (many === 0) return;
      // A single latency among a million must still be seen.
      const height = Math.max(1.5, (many / most) * (HIGH - 10));
      const width = x(bin + 1) - x(bin) - 1;
      parts.push(make("rect", { class: "bar", x: x(bin), y: HIGH - height, width, height, rx: 1 }));
    });
    if (stage.p99_us !== null) {
      const decades = Math.log10(Math.max(1, stage.p99_us));
      const at = x(Math.min(BINS, Math.max(0, decades * BINS_PER_DECADE - FIRST_BIN)));
      const anchor = at > WIDE / 2 ? "end" : "start";
      parts.push(
        make("line", { class: "mark", x1: at, x2: at, y1: 4, y2: HIGH }),
        make("text", { x: at + (anchor === "end" ? -4 : 4), y: 12, "text-anchor": anchor }, "p99"),
      );
    }
    this.svg.replaceChildren(...parts);
    const told = `${this.name}: half within ${time(stage.p50_us)}, 99 % within ${time(stage.p99_us)}`;
    this.svg.setAttribute("aria-label", stage.count ? told : `${this.name}: nothing measured`);
    this.many.textContent = `${count(stage.count)} measured`;
    fill(this.table, [
      ["p50", time(stage.p50_us)], ["p90", time(stage.p90_us)], ["p99", time(stage.p99_us)],
      ["p99.9", time(stage.p99_9_us)], ["longest", time(stage.max_us)],
    ]);
  }
}

// --------------------------------------------------------------------------------------- cards

const STAGES = {
  uplink: "from the read that completed the caller's frame until the model's socket has it",
  downlink: "from the model's audio, or the moment it was due, until the phone's socket has it",
  barge_in: "from the model's interruption until the phone is told to stop",
  setup: "from the start of a call until its model is ready",
  first_audio: "from the start of a call until the caller is sent the first audio",
  turn: "from the end of the caller's words until the answer begins",
  loop: "one turn of a media thread's loop",
};

/// In the order of a call's life.
const STATES = ["opening", "waiting", "live", "swapping", "leaving", "over", "copy"];

/// Every card is made once, and shows each set of figures it is given: the newest, the one before.
function cards() {
  const tile = (name) => {
    const value = make("b", {}, "–");
    return { value, element: make("div", { class: "tile" }, value, name) };
  };
  const shows = [];
  const add = (show) => shows.push(show);
  const classes = (now) => Object.keys(now.calls);

  {
    const [active, rate, cpu, memory] =
      ["calls now", "started a minute", "of a core", "of memory"].map(tile);
    const lines = new Lines("Calls over time", count,
      [["twilio", "up"], ["web", "down"], ["models joined", "other"]]);
    const states = table("By state", ["", "twilio", "web"]);
    const starts = [];
    const tiles = [active, rate, cpu, memory].map(({ element }) => element);
    card("Calls", make("div", { class: "tiles" }, ...tiles), lines.element, scroll(states));
    add((now, before, seconds) => {
      const of = (name) => classes(now).map((each) => now.calls[each][name]);
      active.value.textContent = count(sum(of("active")));
      if (before) {
        starts.push([now.uptime_s, sum(of("started"))]);
        if (starts.length > 61) starts.shift();
        const [[since, then], [at, started]] = [starts[0], starts.at(-1)];
        if (at > since) rate.value.textContent = count(((started - then) * 60) / (at - since));
        const used = (now.process.cpu_s - before.process.cpu_s) / seconds;
        if (now.process.cpu_s !== null) cpu.value.textContent = `${short.format(used * 100)} %`;
      }
      memory.value.textContent = bytes(now.process.resident_bytes);
      lines.add([...of("active"), now.model.open]);
      const known = Object.keys(now.calls.twilio.states);
      const names = STATES.filter((name) => known.includes(name));
      names.push(...known.filter((name) => !names.includes(name)));
      const state = (name) => [words(name), ...of("states").map((each) => count(each[name]))];
      fill(states, [
        ...names.map(state),
        ["started since the start", ...of("started").map(count)],
        ["ended", ...of("ended").map(count)],
        ["interruptions", ...of("barge_ins").map(count)],
      ]);
    });
  }
  {
    const lines = new Lines("Audio messages a second", count,
      [["uplink", "up"], ["downlink", "down"]]);
    const account = table("Samples since the start", ["", "in", "out", "dropped", "queued", ""]);
    const dropped = table("Samples dropped", ["why", "uplink", "downlink"]);
    const rings = make("p", { class: "note" });
    card("Frames", lines.element, scroll(account), scroll(dropped), rings);
    add((now, before, seconds) => {
      const flows = (figures, way) => Object.values(figures.audio).map((each) => each[way]);
      const out = (figures, way) => sum(flows(figures, way).map((flow) => flow.messages_out));
      lines.add(["uplink", "downlink"].map((way) => (
        before ? Math.max(0, out(now, way) - out(before, way)) / seconds : null)));
      fill(account, classes(now).flatMap((each) => Object.entries(now.audio[each]).map(
        ([way, flow]) => {
          const dropped = sum(flow.dropped);
          const taken = flow.samples_in + flow.silence_in;
          const holds = taken === flow.samples_out + dropped + flow.queued;
          const word = holds ? ["good", "adds up"] : ["bad", "does not add up"];
          return [`${each} ${way}`, count(taken), count(flow.samples_out), count(dropped),
            count(flow.queued), make("span", { class: word[0] }, word[1])];
        })));
    });
    add((now) => {
      const whys = {};
      for (const each of Object.values(now.audio)) {
        ["uplink", "downlink"].forEach((way, at) => {
          for (const [why, many] of Object.entries(each[way].dropped)) {
            (whys[why] ??= [0, 0])[at] += many;
          }
        });
      }
      const rows = Object.entries(whys).sort(([, a], [, b]) => sum(b) - sum(a));
      fill(dropped, rows.map(([why, ways]) => [words(why), ...ways.map(count)]), "none");
      const { uplink, downlink } = now.ring_high_water_ms;
      rings.textContent = `Most that ever waited in a call: ${time(uplink * 1e3)} up, `
        + `${time(downlink * 1e3)} down.`;
    });
  }
  {
    const plots = Object.entries(STAGES).map(([stage, meaning]) => [
      stage, new Latencies(words(stage), meaning)]);
    const over = make("p", { class: "note" });
    const grid = make("div", { class: "stages" }, ...plots.map(([, plot]) => plot.element));
    card("Latency", over, grid).classList.add("wide");
    add((now) => {
      over.textContent = `Of the last ${span(now.window_s)}; the axis is logarithmic.`;
      for (const [stage, plot] of plots) plot.show(now.latency[stage]);
    });
  }
  {
    const lines = new Lines("99th percentile over time", time,
      [["uplink", "up"], ["downlink", "down"], ["loop", "other"]]);
    card("Latency over time", lines.element);
    add((now) => lines.add(
      ["uplink", "downlink", "loop"].map((stage) => now.latency[stage].p99_us)));
  }
  {
    const turns = table("Turns of each loop, and what it has to do",
      ["worker", "calls", "letters", "p50", "p99", "longest"]);
    card("Media threads", scroll(turns));
    add((now) => fill(turns, now.workers.map((worker, number) => [
      number, count(worker.calls), count(worker.letters),
      time(worker.p50_us), time(worker.p99_us), time(worker.max_us)])));
  }
  {
    const limits = table("Used, of what there is", ["", "used", "bound", ""]);
    card("Limits", scroll(limits));
    add((now) => fill(limits, now.limits.map(({ name, used, max }) => [
      name, count(used), count(max),
      make("meter", {
        min: 0, max, value: Math.min(used, max), low: max * 0.7, high: max * 0.9, optimum: 0,
        "aria-label": `${name}: ${short.format((used / max) * 100)} %`,
      })])));
  }
  {
    const sessions = table("Connections", ["", "now"]);
    const changes = table("Since the start", ["", ""]);
    card("Model sessions", scroll(sessions), scroll(changes));
    add((now) => {
      const { model } = now;
      fill(sessions, [
        ["live in calls", count(model.open)], ["ready ahead of a call", count(model.ahead)],
        ["being dialled", count(model.dials_under_way)],
        ["waiting to be dialled", count(model.dials_waiting)],
        ["a quota is used up", model.quota_shedding ? make("b", { class: "bad" }, "yes") : "no"],
      ]);
      const group = (title, counts) => ranked(counts).map(([label, many]) => [
        `${title} ${label}`, many]);
      fill(changes, [
        ...group("dialled:", model.dials), ...group("ahead:", model.made_ahead),
        ...group("replaced by", model.swaps), ...group("given up:", model.given_up),
        ...group("closed with", model.closes),
      ]);
    });
  }
  {
    const tools = table("Answered since the start", ["tool", "calls", "mean", "outcomes"]);
    card("Tools", scroll(tools));
    add((now) => fill(tools, now.tools.map((tool) => [
      tool.name, count(tool.calls), time((tool.seconds / Math.max(1, tool.calls)) * 1e6),
      ranked(tool.outcomes).map(([label, many]) => `${label} ${many}`).join(", ")])));
  }
  {
    const endings = table("Calls ended", ["why", "twilio", "web"]);
    const refusals = table("Calls not let in", ["why", ""]);
    const missed = table("Calls that missed a bound (log.slo_…)", ["", "twilio", "web"]);
    card("Ends", scroll(endings), scroll(refusals), scroll(missed));
    add((now) => {
      const of = (name) => classes(now).map((each) => now.calls[each][name]);
      const rows = (name) => {
        const labels = [...new Set(of(name).flatMap(Object.keys))].sort();
        return labels.map((label) => [
          words(label), ...of(name).map((counts) => count(counts[label] ?? 0))]);
      };
      fill(endings, rows("endings"), "none");
      fill(refusals, ranked(now.refusals), "none");
      fill(missed, rows("slo_missed"));
    });
  }
  return shows;
}

// ------------------------------------------------------------------------------------- the loop

let shows = null;
let token = null;
let before = null;
let paused = false;
let failures = 0;
let timer = 0;
let asking = false;

function say(state, text) {
  if ($("state").textContent === text) return;
  $("state").dataset.is = state;
  $("state").textContent = text;
}

function askForToken(why) {
  $("door").hidden = false;
  $("figures").hidden = true;
  $("wrong").hidden = why === null;
  $("wrong").textContent = why ?? "";
  say("away", "locked");
  $("token").focus();
}

function show(now) {
  const build = `${now.build.version} ${now.build.revision ?? ""}`.trim();
  $("about").textContent =
    `${build} · ${now.build.target} · ${now.build.kernels} · up ${span(now.uptime_s)}`;
  $("door").hidden = true;
  $("figures").hidden = false;
  shows ??= cards();
  // Figures asked for twice within a moment are the same: no time has passed between them.
  const seconds = before ? now.uptime_s - before.uptime_s : 0;
  if (before && seconds === 0) return;
  const usable = before && seconds > 0 ? before : null;
  for (const each of shows) each(now, usable, seconds);
  before = now;
}

async function ask() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetch("status.json", { headers, signal, cache: "no-store" });
  if (answer.status === 401) {
    askForToken(token ? "That is not the token." : null);
    token = null;
    return false;
  }
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  show(told);
  return true;
}

async function turn() {
  clearTimeout(timer);
  if (asking || paused || document.hidden) return;
  asking = true;
  let goesOn = true;
  try {
    goesOn = await ask();
    failures = 0;
    if (goesOn) say("live", "live");
  } catch (error) {
    failures += 1;
    say("away", error instanceof Error && error.name === "Error" ? error.message : "not reached");
  }
  asking = false;
  if (paused || document.hidden) return rest();
  const wait = Math.min(FAILED_MAX_MS, EVERY_MS * 2 ** Math.min(failures, 8));
  if (goesOn) timer = setTimeout(turn, failures ? wait : EVERY_MS);
}

function rest() {
  clearTimeout(timer);
  say("paused", "paused");
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  paused ? rest() : turn();
});
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : turn()));
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  turn();
});
turn();
