// The page around a conversation: what is pressed, what is shown, and in which language.

const element = (id) => document.getElementById(id);
const LOG_ENTRIES_MAX = 500;

const WORDS = {
  en: {
    demo: "Demo", call: "Call", you: "You", agent: "Agent", mute: "Mute", keys: "Keypad",
    devices: "Devices", microphone: "Microphone", speaker: "Loudspeaker", transcript: "Transcript",
    talk: "Talk", hang_up: "End call", send: "Send", type: "Type a message",
    empty: "What is said appears here. Press Talk and allow the microphone.",
    demo_hint: "No key is set, so a built-in agent answers. It does these things for you:",
    ask_book: "Book an appointment", ask_transfer: "Transfer", ask_hang_up: "Hang up",
    calendar: "Calendar feed", paused: "The browser has paused the sound.", resume: "Continue",
    default_device: "Default device", answer: "answers after", buffer: "buffer", key: "Key",
    booked: "Appointment booked", moved: "Appointment moved", cancelled: "Appointment cancelled",
    reference: "Reference", over: "The call is over.",
    over_transferred: "You have been put through: the call goes on elsewhere.",
    over_agent_hung_up: "The agent has hung up.",
    ready: "Ready", asking: "Allow the microphone…", connecting: "Connecting…",
    listening: "Listening", speaking: "Agent is speaking", interrupted: "Interrupted",
    reconnecting: "Connection lost. Reconnecting…",
    ended: "Call ended", error: "Something went wrong",
  },
  de: {
    demo: "Demo", call: "Anruf", you: "Sie", agent: "Agent", mute: "Stumm", keys: "Tasten",
    devices: "Geräte", microphone: "Mikrofon", speaker: "Lautsprecher", transcript: "Mitschrift",
    talk: "Sprechen", hang_up: "Auflegen", send: "Senden", type: "Nachricht schreiben",
    empty: "Hier erscheint, was gesagt wird. Drücken Sie Sprechen und erlauben Sie das Mikrofon.",
    demo_hint: "Kein Schlüssel ist gesetzt, daher antwortet ein eingebauter Agent. Er kann:",
    ask_book: "Termin buchen", ask_transfer: "Verbinden", ask_hang_up: "Auflegen",
    calendar: "Kalender", paused: "Der Browser hat den Ton angehalten.", resume: "Weiter",
    default_device: "Standardgerät", answer: "antwortet nach", buffer: "Puffer", key: "Taste",
    booked: "Termin gebucht", moved: "Termin verschoben", cancelled: "Termin abgesagt",
    reference: "Kennzeichen", over: "Das Gespräch ist beendet.",
    over_transferred: "Sie wurden verbunden: Das Gespräch geht anderswo weiter.",
    over_agent_hung_up: "Der Agent hat aufgelegt.",
    ready: "Bereit", asking: "Bitte Mikrofon erlauben…", connecting: "Verbinde…",
    listening: "Hört zu", speaking: "Agent spricht", interrupted: "Unterbrochen",
    reconnecting: "Verbindung verloren. Verbinde neu…",
    ended: "Gespräch beendet", error: "Etwas ist schiefgegangen",
  },
};

/** A sentence for each problem, with what to do. */
const PROBLEMS = {
  en: {
    microphone_denied:
      "The microphone is not allowed for this page. Allow it beside the address bar, then " +
      "try again.",
    no_microphone: "No microphone was found. Connect one and try again.",
    microphone_busy: "The microphone cannot be opened. Perhaps another program is using it.",
    microphone_lost: "The microphone went away. Connect it again, or choose another under Devices.",
    no_audio: "This browser gives pages no microphone or no audio worklet. A current one does.",
    insecure:
      "Browsers give a page the microphone only over https, or on localhost. Open this page " +
      "by one of the two.",
    unreachable: "The relay cannot be reached. Is it running, and are you online?",
    origin:
      "The relay does not take conversations from this page. Ask whoever runs it to allow " +
      "this site.",
    full: "Every line is busy at present. Please try again later.",
    draining: "The relay is being restarted. Please try again in a moment.",
    drained: "The relay is being restarted. Please call again in a moment.",
    lost: "The connection to the relay was lost. Please call again.",
    anew: "The conversation was lost with the connection. This is a new one.",
    no_token:
      "This agent lets in only visitors with an access token. Open the link you were given " +
      "once more.",
    bad_token: "Your access token is not valid here. Open the link you were given once more.",
    expired_token: "Your access token has expired. Load the page you came from again.",
    used_token: "Your access token has been used already. Load the page you came from again.",
    no_agent: "There is no agent of this name for browsers.",
    model: "The agent cannot be reached at present. Please try again later.",
    model_lost: "The connection to the agent was lost. Please call again.",
    too_long: "The conversation was as long as it may be.",
    slow: "The connection is too slow for a conversation.",
    internal: "The relay failed in this conversation. Please call again.",
    replaced: "This conversation goes on elsewhere.",
    not_ready: "The agent is not there yet. Wait a moment.",
  },
  de: {
    microphone_denied:
      "Das Mikrofon ist für diese Seite nicht erlaubt. Erlauben Sie es neben der Adresszeile " +
      "und versuchen Sie es erneut.",
    no_microphone: "Kein Mikrofon gefunden. Schließen Sie eines an und versuchen Sie es erneut.",
    microphone_busy:
      "Das Mikrofon lässt sich nicht öffnen. Vielleicht benutzt es ein anderes Programm.",
    microphone_lost:
      "Das Mikrofon ist verschwunden. Schließen Sie es wieder an oder wählen Sie unter " +
      "Geräte ein anderes.",
    no_audio:
      "Dieser Browser gibt Seiten kein Mikrofon oder kein AudioWorklet. Ein aktueller kann " +
      "es.",
    insecure:
      "Das Mikrofon gibt es nur über https oder auf localhost. Öffnen Sie die Seite auf " +
      "einem dieser Wege.",
    unreachable: "Das Relay ist nicht erreichbar. Läuft es, und sind Sie online?",
    origin:
      "Das Relay nimmt von dieser Seite keine Gespräche an. Der Betreiber kann sie freigeben.",
    full: "Im Augenblick sind alle Leitungen belegt. Bitte versuchen Sie es später noch einmal.",
    draining: "Das Relay wird neu gestartet. Bitte versuchen Sie es gleich noch einmal.",
    drained: "Das Relay wird neu gestartet. Bitte rufen Sie gleich noch einmal an.",
    lost: "Die Verbindung zum Relay ist abgerissen. Bitte rufen Sie noch einmal an.",
    anew: "Das Gespräch ist mit der Verbindung verloren gegangen. Dies ist ein neues.",
    no_token:
      "Dieser Agent lässt nur Besucher mit einem Zugangscode ein. Öffnen Sie Ihren Link noch " +
      "einmal.",
    bad_token: "Ihr Zugangscode gilt hier nicht. Öffnen Sie Ihren Link noch einmal.",
    expired_token: "Ihr Zugangscode ist abgelaufen. Laden Sie die Seite neu, von der Sie kamen.",
    used_token: "Ihr Zugangscode wurde schon benutzt. Laden Sie die Seite neu, von der Sie kamen.",
    no_agent: "Einen Agenten dieses Namens gibt es hier nicht.",
    model: "Der Agent ist zurzeit nicht erreichbar. Bitte versuchen Sie es später noch einmal.",
    model_lost: "Die Verbindung zum Agenten ist abgerissen. Bitte rufen Sie noch einmal an.",
    too_long: "Das Gespräch war so lang, wie es sein darf.",
    slow: "Die Verbindung ist zu langsam für ein Gespräch.",
    internal: "Das Relay hat in diesem Gespräch versagt. Bitte rufen Sie noch einmal an.",
    replaced: "Dieses Gespräch geht an anderer Stelle weiter.",
    not_ready: "Der Agent ist noch nicht da. Einen Moment bitte.",
  },
};

/** What a tool does, in a line. */
const WORK = {
  en: {
    check_availability: "Looking for free times", book_appointment: "Booking",
    reschedule_appointment: "Moving the appointment", find_appointment: "Looking for appointments",
    cancel_appointment: "Cancelling", transfer_call: "Putting through", end_call: "Hanging up",
  },
  de: {
    check_availability: "Sucht freie Zeiten", book_appointment: "Bucht",
    reschedule_appointment: "Verschiebt den Termin", find_appointment: "Sucht Termine",
    cancel_appointment: "Sagt ab", transfer_call: "Verbindet", end_call: "Legt auf",
  },
};

const wanted = new URLSearchParams(location.search);
const locales = [wanted.get("lang"), ...navigator.languages].filter(Boolean);
const language = /^de\b/i.test(locales[0] ?? "") ? "de" : "en";
const t = WORDS[language];

/** The conversation that is going on, or null. */
let conversation = null;
/** The transcript entry of each side that is still being added to. */
let open = { caller: null, agent: null };
/** What was typed and may come back as a transcript of the caller; empty once anything came. */
let typedLast = "";
let figures = {};

translate();
makeKeypad();
show("ready");
forget();
if (document.documentElement.dataset.demo) {
  element("badge").hidden = element("demo").hidden = false;
  const feed = document.documentElement.dataset.calendar;
  if (feed) Object.assign(element("calendar"), { href: beside(feed), hidden: false });
}
if (!navigator.mediaDevices || !window.AudioWorkletNode) {
  element("talk").disabled = true;
  complain(PROBLEMS[language][window.isSecureContext ? "no_audio" : "insecure"]);
}

element("talk").onclick = () => (conversation ? conversation.end() : begin());
element("mute").onclick = () => {
  conversation.setMuted(!conversation.muted);
  element("mute").setAttribute("aria-pressed", conversation.muted);
};
element("resume").onclick = () => conversation?.resume();
for (const [button, panel] of [["keys", "keypad"], ["gear", "devices"]]) {
  element(button).onclick = () => {
    element(panel).hidden = !element(panel).hidden;
    element(button).setAttribute("aria-expanded", !element(panel).hidden);
  };
}
element("microphone").onchange = ({ target }) => conversation?.useMicrophone(target.value);
element("speaker").onchange = ({ target }) => conversation?.useSpeaker(target.value);
for (const button of document.querySelectorAll("[data-ask]")) {
  button.onclick = () => write(button.dataset.ask, button.textContent);
}
element("type").onsubmit = (event) => {
  event.preventDefault();
  const text = element("typed").value.trim();
  if (text) write(text, text);
  element("typed").value = "";
};
// Keys of the keyboard count while the keypad has the focus.
element("keypad").onkeydown = ({ key }) => /^[0-9*#]$/.test(key) && press(key);

function begin() {
  complain("");
  open = { caller: null, agent: null };
  figures = {};
  showFigures();
  conversation = new Conversation({
    url: beside(""),
    token: wanted.get("token") ?? undefined,
    agent: wanted.get("agent") ?? undefined,
    microphone: element("microphone").value || undefined,
    speaker: element("speaker").value || undefined,
  });
  const on = (type, take) => conversation.addEventListener(type, ({ detail }) => take(detail));
  on("state", show);
  on("levels", ({ caller, agent }) => (level("caller", caller), level("agent", agent)));
  on("transcript", ({ who, text, final }) => {
    // Some models tell what was typed as if it had been said.
    const isTyped = who === "caller" && typedLast && text.trim() === typedLast;
    typedLast = who === "caller" ? "" : typedLast;
    if (!isTyped) add(who, text, final);
  });
  on("turn", ({ who }) => {
    // The agent's words come before its turn ends, often before it begins; the caller's come while
    // the agent answers already. So both are complete when the caller's turn comes.
    if (who !== "agent") open = { caller: null, agent: null };
  });
  on("tool", work);
  on("latency", (told) => showFigures(told));
  on("buffer", (told) => showFigures(told));
  on("devices", listDevices);
  on("paused", ({ paused }) => (element("paused").hidden = !paused));
  on("notice", ({ code, message }) => {
    element("told").textContent = sentence(code, message);
    element("told").hidden = !message;
  });
  on("problem", ({ code, message }) => complain(sentence(code, message)));
  on("end", ({ reason }) => ended(reason));
  element("talk").dataset.is = "on";
  element("talk-word").textContent = t.hang_up;
  conversation.start();
}

function ended(reason) {
  conversation = null;
  forget();
  note(t[`over_${reason}`] ?? t.over);
  if (!element("wrong").hidden) show("error");
}

/** No call goes on: what belongs to one is off. */
function forget() {
  element("talk").dataset.is = "off";
  element("talk-word").textContent = t.talk;
  element("mute").setAttribute("aria-pressed", "false");
  element("paused").hidden = true;
  level("caller", 0);
  level("agent", 0);
  enable(false);
}

function enable(isOn) {
  const parts = "#mute, #keypad button, [data-ask], #type input, #type button";
  for (const part of document.querySelectorAll(parts)) part.disabled = !isOn;
}

function show(state) {
  element("state").textContent = t[state];
  element("state").dataset.is = state;
  if (state === "interrupted" && open.agent) {
    open.agent.parentElement.classList.add("cut");
    open.agent = null;
  }
  if (state !== "ready") enable(["listening", "speaking", "interrupted"].includes(state));
}

function showFigures(more) {
  Object.assign(figures, more);
  const parts = [];
  if (figures.answerMs) parts.push(`${t.answer} ${seconds(figures.answerMs)}`);
  if (figures.wantedMs) parts.push(`${t.buffer} ${figures.heldMs} ms`);
  element("figures").textContent = parts.join(" · ");
}

function seconds(ms) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: 2 }).format(
    Math.round(ms / 10) / 100,
  ) + " s";
}

function sentence(code, message) {
  const known = PROBLEMS[language];
  if (code in known) return known[code];
  if (code === "no_model") return known.model;
  if (/^model_/.test(code)) return known.model_lost;
  if (/^phone_(silent|stalled)$/.test(code)) return known.slow;
  return message || `${t.error} (${code}).`;
}

function complain(text) {
  element("wrong").textContent = text;
  element("wrong").hidden = !text;
}

function press(digit) {
  if (!conversation || element("mute").disabled) return;
  conversation.pressKey(digit);
  note(`${t.key} ${digit}`);
}

/** Writes to the agent; `shown` is what it looks like in the transcript. */
function write(text, shown) {
  if (!conversation) return;
  open.caller = null;
  add("caller", shown, true);
  typedLast = text;
  conversation.sendText(text);
}

// ------------------------------------------------------------------------------- the transcript

function append(entry) {
  const said = element("said");
  const isAtEnd = said.scrollHeight - said.scrollTop - said.clientHeight < 80;
  said.append(entry);
  if (said.childElementCount > LOG_ENTRIES_MAX) said.firstElementChild.remove();
  if (isAtEnd) said.scrollTop = said.scrollHeight;
}

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function note(text) {
  append(make("div", "note", text));
}

function add(who, text, final) {
  if (!open[who] && text.trim()) {
    const entry = make("div", `entry ${who}`);
    open[who] = make("span");
    entry.append(make("b", "", who === "agent" ? t.agent : t.you), open[who]);
    append(entry);
  }
  if (open[who]) {
    const isFirst = !open[who].textContent;
    open[who].textContent += isFirst ? text.trimStart() : text;
    const said = element("said");
    said.scrollTop = said.scrollHeight;
  }
  if (final) open[who] = null;
}

function work({ id, name, state, result }) {
  const mark = `work-${id}`;
  let line = document.querySelector(`[data-mark="${CSS.escape(mark)}"][data-is="running"]`);
  if (!line) {
    line = make("div", "work", WORK[language][name] ?? name.replaceAll("_", " "));
    line.dataset.mark = mark;
    append(line);
  }
  line.dataset.is = state;
  const answer = result?.output ?? result;
  if (state === "done" && answer && typeof answer === "object") appointment(name, answer);
}

/** An appointment that was booked, moved or cancelled, as a card. */
function appointment(name, answer) {
  const titles = {
    book_appointment: t.booked, reschedule_appointment: t.moved, cancel_appointment: t.cancelled,
  };
  const told = answer.appointment ?? answer.booking ?? answer;
  const day = told.date ?? told.start?.slice(0, 10);
  const time = told.time ?? told.start?.slice(11, 16);
  if (!titles[name] || answer.ok === false || !(day || told.reference)) return;
  const card = make("article", "appointment");
  if (name === "cancel_appointment") card.classList.add("off");
  if (/^\d{4}-\d{2}-\d{2}$/.test(day ?? "")) {
    const date = new Date(`${day}T12:00:00`);
    const format = (options) => new Intl.DateTimeFormat(language, options).format(date);
    const leaf = make("span", "leaf");
    leaf.append(make("i", "", format({ month: "short" })), make("b", "", String(date.getDate())));
    const long = format({ weekday: "long", day: "numeric", month: "long" });
    const when = make("span", "when", [long, time].filter(Boolean).join(", "));
    card.append(leaf, make("strong", "", titles[name]), when);
  } else {
    card.append(make("strong", "", titles[name]));
  }
  const small = make("small", "", told.service ? `${told.service} · ` : "");
  if (told.reference) small.append(`${t.reference} `, make("code", "", told.reference));
  card.append(small);
  append(card);
}

// ---------------------------------------------------------------------------------- small parts

/** Shows a peak of 0 to 1 on a scale from -50 to 0 dB. */
function level(who, peak) {
  const part = peak > 0 ? Math.max(0, 1 + Math.log10(peak) / 2.5) : 0;
  element(`${who}-level`).style.transform = `scaleX(${part.toFixed(3)})`;
  element(`${who}-ring`).style.transform = `scale(${(0.9 + 0.55 * part).toFixed(3)})`;
}

function listDevices({ microphones, speakers, microphone }) {
  fill(element("microphone"), microphones, microphone);
  fill(element("speaker"), speakers, element("speaker").value);
  element("speaker-row").hidden = !speakers.length;
}

function fill(select, devices, chosen) {
  const options = devices.map(({ id, label }) => new Option(label || id.slice(0, 8), id));
  if (!devices.some(({ id }) => id === "default")) {
    options.unshift(new Option(t.default_device, ""));
  }
  select.replaceChildren(...options);
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** An address beside this page, wherever a proxy has put the page. */
function beside(path) {
  return new URL(path, new URL(location.pathname.replace(/\/?$/, "/"), location.href)).href;
}

function translate() {
  document.documentElement.lang = language;
  for (const part of document.querySelectorAll("[data-t]")) part.textContent = t[part.dataset.t];
  for (const [name, attribute] of [
    ["t-label", "aria-label"], ["t-placeholder", "placeholder"], ["t-empty", "data-empty"],
  ]) {
    for (const part of document.querySelectorAll(`[data-${name}]`)) {
      part.setAttribute(attribute, t[part.getAttribute(`data-${name}`)]);
    }
  }
}

function makeKeypad() {
  for (const digit of "123456789*0#") {
    const key = make("button", "", digit);
    key.type = "button";
    key.onclick = () => press(digit);
    element("keypad").append(key);
  }
}
