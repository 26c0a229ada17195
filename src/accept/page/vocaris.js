/**
 * @file A conversation with a Vocaris agent, for any page: the microphone up, the agent down, what
 * is said, what the agent's tools do.
 *
 * ```js
 * import { Conversation } from "https://voice.example.com/vocaris.js";
 * const conversation = new Conversation({ agent: "reception", token: "…" });
 * conversation.addEventListener("transcript", ({ detail }) => console.log(detail.text));
 * button.onclick = () => conversation.start();
 * ```
 *
 * A conversation is used once: `start()`, then `end()` or its own end. Its events carry what they
 * tell in `detail`:
 *
 * | event | detail | when |
 * |---|---|---|
 * | `state` | {@link State} | it changes |
 * | `levels` | `{caller, agent}`, peaks of 0 to 1 | some 25 times a second |
 * | `transcript` | {@link Words} | something was said |
 * | `turn` | `{who}` | the floor changed hands |
 * | `tool` | {@link Tool} | a tool began, or ended |
 * | `latency` | `{answerMs}` | the agent became audible after the caller had spoken, typed or pressed |
 * | `buffer` | `{heldMs, wantedMs}` | once a second while the agent speaks |
 * | `devices` | `{microphones, speakers, microphone}` | at the start, and when one comes or goes |
 * | `paused` | `{paused}` | the browser stopped the sound; `resume()` from a click goes on |
 * | `notice` | `{code, message}` | what a person is to know: that the conversation is recorded; `anew`: that another one has begun |
 * | `problem` | {@link Problem} | something went wrong; `fatal` ones end it |
 * | `end` | `{reason}` | it is over; nothing comes after it |
 *
 * A connection that breaks is made anew, for as long as the relay keeps the conversation: the agent
 * goes on where it was. Meanwhile the state is `reconnecting`, and what the caller says is not heard.
 *
 * @typedef {"ready"|"asking"|"connecting"|"listening"|"speaking"|"interrupted"|"reconnecting"|
 *   "ended"} State
 * @typedef {{who: "caller"|"agent", text: string, final: boolean}} Words A piece of what is said,
 *   to be put behind the pieces before it; `final`: nothing is added to it.
 * @typedef {{id: number, name: string, state: "running"|"done"|"failed"|"cancelled", result?: any}}
 *   Tool
 * @typedef {{code: string, message: string, fatal: boolean}} Problem `code` is a word for programs:
 *   `microphone_denied`, `no_microphone`, `microphone_busy`, `microphone_lost`, `no_audio`,
 *   `insecure`, `unreachable`, `origin`, `full`, `draining`, `lost`, or one of the relay's own.
 *
 * @typedef {object} Options
 * @property {string|URL} [url] The relay; where this module came from, if it is not said.
 * @property {string} [token] What the site was given to be let in.
 * @property {string} [agent] The name of the agent to talk to.
 * @property {string} [microphone] The id of the device to listen with.
 * @property {string} [speaker] The id of the device to be heard on, where the browser can choose.
 */

// The audio thread: both worklets, and the resampler they share. It is made into a module of its
// own from its text, so that a page needs no second file.
const AUDIO_THREAD = `
  // Windowed-sinc resampling between any two rates, block after block, without gaps.
  class Resampler {
    constructor(from, to) {
      const phases = 128, zeros = 16, ratio = Math.min(1, to / from), cut = 0.92 * ratio;
      this.step = from / to;
      this.half = Math.ceil(zeros / ratio);
      this.rows = [];
      for (let phase = 0; phase <= phases; phase++) {
        const row = new Float32Array(2 * this.half);
        let sum = 0;
        for (let k = 0; k < row.length; k++) {
          const x = k - this.half + 1 - phase / phases;
          const angle = Math.PI * cut * x;
          const window = 0.5 + 0.5 * Math.cos(Math.PI * Math.min(1, Math.abs(x) / this.half));
          row[k] = (x === 0 ? 1 : Math.sin(angle) / angle) * window;
          sum += row[k];
        }
        this.rows.push(row.map((tap) => tap / sum));
      }
      this.input = new Float32Array(2 * this.half + 4200);
      this.reset();
    }
    // Forgets what came before.
    reset() {
      this.held = this.half;
      this.input.fill(0, 0, this.held);
      this.at = this.half;
    }
    // Takes at most 4,096 samples in; calls put with each one that comes out.
    process(block, put) {
      const { input, half, rows } = this;
      input.set(block, this.held);
      this.held += block.length;
      while (this.at + half < this.held) {
        const first = Math.floor(this.at);
        const row = rows[Math.round((this.at - first) * (rows.length - 1))];
        const start = first - half + 1;
        let sum = 0;
        for (let k = 0; k < row.length; k++) sum += input[start + k] * row[k];
        put(sum);
        this.at += this.step;
      }
      const used = Math.min(this.held, Math.max(0, Math.floor(this.at) - half));
      input.copyWithin(0, used, this.held);
      this.held -= used;
      this.at -= used;
    }
  }

  // Microphone to frames of 20 ms, 16 kHz, PCM16.
  class Capture extends AudioWorkletProcessor {
    constructor() {
      super();
      this.resampler = new Resampler(sampleRate, 16000);
      this.mono = new Float32Array(128);
      this.begin();
      this.put = (sample) => {
        const value = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
        this.frame[this.filled++] = value;
        this.peak = Math.max(this.peak, Math.abs(value));
        if (this.filled === this.frame.length) {
          const { frame, peak } = this;
          this.port.postMessage({ frame: frame.buffer, peak: peak / 32768 }, [frame.buffer]);
          this.begin();
        }
      };
    }
    begin() {
      this.frame = new Int16Array(320);
      this.filled = 0;
      this.peak = 0;
    }
    process([channels]) {
      if (!channels.length) return true;
      if (this.mono.length !== channels[0].length) this.mono = new Float32Array(channels[0].length);
      this.mono.fill(0);
      for (const channel of channels) {
        for (let i = 0; i < channel.length; i++) this.mono[i] += channel[i] / channels.length;
      }
      this.resampler.process(this.mono, this.put);
      return true;
    }
  }
  registerProcessor("vocaris-capture", Capture);

  // PCM16 of 24 kHz to the loudspeaker. It begins with "wanted" samples in hand. That is 40 ms, and
  // grows when the network leaves it empty in the middle of a sentence; it shrinks again in time.
  // At most a minute waits: what comes beyond is dropped.
  class Player extends AudioWorkletProcessor {
    constructor() {
      super();
      this.resampler = new Resampler(24000, sampleRate);
      this.least = 0.04 * sampleRate;
      this.wanted = this.least;
      this.ramp = 0.005 * sampleRate;
      this.blocks = [];
      this.queued = 0;
      this.used = 0;
      this.playing = false;
      this.patience = 0;
      this.emptySince = -Infinity;
      this.smoothSince = 0;
      this.gain = 0;
      this.last = 0;
      this.peak = 0;
      this.told = 0;
      this.port.onmessage = ({ data }) => (data === "clear" ? this.clear() : this.queue(data));
    }
    queue(buffer) {
      if (this.queued > 60 * sampleRate) return;
      const pcm = new Int16Array(buffer, 0, buffer.byteLength >> 1);
      if (!this.queued && currentTime - this.emptySince < 0.5) {
        this.wanted = Math.min(1.5 * this.wanted + 0.02 * sampleRate, 0.4 * sampleRate);
        this.smoothSince = currentTime;
        this.emptySince = -Infinity;
      }
      for (let from = 0; from < pcm.length; from += 4096) {
        const piece = Float32Array.from(pcm.subarray(from, from + 4096), (value) => value / 32768);
        const block = new Float32Array(Math.ceil((piece.length * sampleRate) / 24000) + 2);
        let filled = 0;
        this.resampler.process(piece, (sample) => (block[filled++] = sample));
        if (filled) this.blocks.push(block.subarray(0, filled));
        this.queued += filled;
      }
    }
    // Drops everything but the next five milliseconds, which fade.
    clear() {
      const tail = new Float32Array(Math.min(this.queued, this.playing ? this.ramp : 0));
      for (let i = 0; i < tail.length; i++) tail[i] = this.take() * (1 - (i + 1) / tail.length);
      this.blocks = tail.length ? [tail] : [];
      this.queued = tail.length;
      this.used = 0;
      this.resampler.reset();
      this.cleared = true;
    }
    take() {
      const sample = this.blocks[0][this.used++];
      this.queued--;
      if (this.used === this.blocks[0].length) {
        this.blocks.shift();
        this.used = 0;
      }
      return sample;
    }
    process(inputs, [[out, ...others]]) {
      if (!this.playing && this.queued) {
        // The first of it waits no longer than it would take to gather what is wanted.
        this.patience += out.length;
        this.playing = this.queued >= this.wanted || this.patience >= 1.5 * this.wanted;
        this.cleared = false;
      }
      for (let i = 0; i < out.length; i++) {
        if (this.playing && this.queued) {
          this.gain = Math.min(1, this.gain + 1 / (0.4 * this.ramp));
          this.last = this.take() * this.gain;
        } else {
          // Fades within a few milliseconds: a step would click.
          this.gain = 0;
          this.last *= 0.985;
        }
        out[i] = this.last;
        this.peak = Math.max(this.peak, Math.abs(this.last));
      }
      for (const other of others) other.set(out);
      if (this.playing && !this.queued) {
        this.playing = false;
        this.patience = 0;
        this.emptySince = this.cleared ? -Infinity : currentTime;
      }
      if (currentTime - this.smoothSince > 10) {
        this.smoothSince = currentTime;
        this.wanted = Math.max(this.least, 0.8 * this.wanted);
      }
      this.tell(out.length);
      return true;
    }
    tell(samples) {
      this.told += samples;
      const { playing, queued, wanted, peak } = this;
      if (playing === this.wasPlaying && this.told < 0.04 * sampleRate) return;
      const heldMs = (1000 * queued) / sampleRate, wantedMs = (1000 * wanted) / sampleRate;
      this.port.postMessage({ playing, peak, heldMs, wantedMs });
      this.wasPlaying = playing;
      this.told = 0;
      this.peak = 0;
    }
  }
  registerProcessor("vocaris-player", Player);
`;

/** Rate of the audio up, in Hz. A third of what most devices give: the agent hears no more. */
const UPLINK_RATE = 16000;
/** Bytes the network may lag behind before microphone frames are dropped: two seconds. */
const UPLINK_MAX_BYTES = 4 * UPLINK_RATE;
/** A peak above this is the caller's voice, for the latency that is shown. */
const VOICE_PEAK = 0.05;
/** An answer later than this is none to what was said. */
const ANSWER_MAX_MS = 10000;
/** A frame that cannot be sent for so long says that the connection is dead. */
const STALLED_MS = 4000;
/** For so long a connection that broke is made anew: the relay keeps a conversation for two minutes. */
const RECONNECT_MS = 90000;
/** Between two attempts: the first waits so long, each further one twice as long, up to the most. */
const RECONNECT_WAIT_MS = 250;
const RECONNECT_WAIT_MAX_MS = 5000;
/** How long one attempt may take. */
const ATTEMPT_MS = 8000;
/** How long `interrupted` is the state, unless the agent speaks again. */
const SHOWN_MS = 1500;

/** What is told of a problem where a page has no words of its own. */
const MESSAGES = {
  microphone_denied: "The microphone is not allowed for this page.",
  no_microphone: "No microphone was found.",
  microphone_busy: "The microphone cannot be opened; another program may be using it.",
  microphone_lost: "The microphone went away.",
  no_audio: "This browser cannot play or record sound in the way that is needed.",
  insecure: "Browsers give a page the microphone only over https, or on localhost.",
  unreachable: "The relay cannot be reached.",
  origin: "The relay does not take conversations from this page.",
  full: "Every line is busy at present.",
  draining: "The relay is being restarted.",
  lost: "The connection to the relay was lost.",
  anew: "The conversation was lost with the connection. This is a new one.",
};

/** Where this module came from. */
const HOME = import.meta.url;

/** One conversation. See the head of this file. */
export class Conversation extends EventTarget {
  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    this.options = options;
    /** @type {State} */
    this.state = "ready";
    /** Whether the caller's side is silent. */
    this.muted = false;
    this.levels = { caller: 0, agent: 0 };
    this.isPlaying = false;
    /** When the caller last gave the agent something to answer; `null` once it is answered. */
    this.askedAt = null;
    /** The reason the relay gave, once it has. */
    this.reason = null;
    /** With this the relay lets a new connection go on with the conversation. */
    this.resumeToken = null;
    /** Since when the connection has been gone; `null`: it is there. */
    this.lostAt = null;
    this.attempts = 0;
    /** Since when frames have found no room. */
    this.stalledSince = null;
    this.cameOnline = () => this.lostAt !== null && this.reconnectSoon(0);
    this.bufferToldAt = 0;
    this.followDevices = () => this.devicesChanged();
    this.followPage = () => document.visibilityState === "visible" && this.resume();
  }

  /**
   * Asks for the microphone and connects. Call it from a click: browsers play no sound without.
   * Never rejects: what goes wrong is told as `problem` and `end`.
   */
  async start() {
    if (this.state !== "ready") return;
    try {
      this.setState("asking");
      this.stream = await this.openMicrophone(this.options.microphone);
      await this.openAudio();
      if (this.state === "ended") return this.release();
      this.setState("connecting");
      this.listDevices();
      this.connect();
    } catch (error) {
      if (this.state !== "ended") this.fail(codeOf(error));
      this.release();
    }
  }

  /** The caller hangs up. */
  end() {
    if (this.socket?.readyState === WebSocket.OPEN) this.tell({ type: "bye" });
    this.finish("caller_hung_up");
  }

  /** Says something in writing. */
  sendText(/** @type {string} */ text) {
    this.ask();
    this.tell({ type: "text", text });
  }

  /** Presses a key of the telephone: `0` to `9`, `*` or `#`. */
  pressKey(/** @type {string} */ digit) {
    this.ask();
    this.tell({ type: "key", digit });
  }

  /** Whether the caller is heard. The line goes on: the agent hears silence. */
  setMuted(/** @type {boolean} */ muted) {
    this.muted = muted;
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** Listens with another device from now on. */
  async useMicrophone(/** @type {string} */ id) {
    this.options.microphone = id;
    await this.changeMicrophone(id);
  }

  /** Is heard on another device from now on, where the browser can do that. */
  async useSpeaker(/** @type {string} */ id) {
    this.options.speaker = id;
    await this.audio?.setSinkId?.(id);
  }

  /** Goes on after the browser has stopped the sound. Works from a click, and often without. */
  async resume() {
    if (this.audio && this.audio.state !== "running" && this.audio.state !== "closed") {
      await this.audio.resume().catch(() => {});
    }
  }

  // ------------------------------------------------------------------------------------- sound

  async openMicrophone(id) {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw { code: window.isSecureContext ? "no_audio" : "insecure" };
    }
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    if (id) audio.deviceId = { exact: id };
    return navigator.mediaDevices.getUserMedia({ audio });
  }

  async openAudio() {
    this.audio = new AudioContext({ latencyHint: "interactive" });
    const url = URL.createObjectURL(new Blob([AUDIO_THREAD], { type: "text/javascript" }));
    try {
      await this.audio.audioWorklet.addModule(url);
    } finally {
      URL.revokeObjectURL(url);
    }
    if (this.options.speaker) await this.audio.setSinkId?.(this.options.speaker).catch(() => {});
    this.capture = new AudioWorkletNode(this.audio, "vocaris-capture", { numberOfOutputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.sendFrame(data);
    this.player = new AudioWorkletNode(this.audio, "vocaris-player", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    this.player.port.onmessage = ({ data }) => this.played(data);
    this.player.connect(this.audio.destination);
    this.attachMicrophone();
    this.audio.onstatechange = () => {
      if (this.state !== "ended") this.emit("paused", { paused: this.audio.state !== "running" });
    };
    navigator.mediaDevices.addEventListener("devicechange", this.followDevices);
    document.addEventListener("visibilitychange", this.followPage);
    // A browser that wants a click first leaves this open: the call goes on all the same.
    this.audio.resume().catch(() => {});
  }

  attachMicrophone() {
    this.source?.disconnect();
    this.source = this.audio.createMediaStreamSource(this.stream);
    this.source.connect(this.capture);
    this.setMuted(this.muted);
    this.stream.getAudioTracks()[0].onended = () => this.changeMicrophone();
  }

  /** Takes another microphone; without one to be had, the call goes on, and the next one is taken. */
  async changeMicrophone(id) {
    if (!this.audio || this.state === "ended") return;
    try {
      const stream = await this.openMicrophone(id);
      if (this.state === "ended") return stopTracks(stream);
      stopTracks(this.stream);
      this.stream = stream;
      this.attachMicrophone();
    } catch (error) {
      const isLost = this.stream.getAudioTracks()[0]?.readyState !== "live";
      this.problem(isLost ? "microphone_lost" : codeOf(error), false);
    }
    this.listDevices();
  }

  devicesChanged() {
    if (this.stream?.getAudioTracks()[0]?.readyState !== "live") this.changeMicrophone();
    else this.listDevices();
  }

  async listDevices() {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const of = (kind) => {
      const some = all.filter((device) => device.kind === kind && device.deviceId);
      return some.map(({ deviceId, label }) => ({ id: deviceId, label }));
    };
    const microphone = this.stream?.getAudioTracks()[0]?.getSettings().deviceId ?? "";
    const canChoose = "setSinkId" in AudioContext.prototype;
    const speakers = canChoose ? of("audiooutput") : [];
    this.emit("devices", { microphones: of("audioinput"), speakers, microphone });
  }

  sendFrame({ frame, peak }) {
    if (this.state === "ended") return;
    this.levels = { caller: this.muted ? 0 : peak, agent: this.levels.agent };
    this.emit("levels", this.levels);
    if (peak > VOICE_PEAK && !this.muted && !this.isPlaying) this.ask();
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount < UPLINK_MAX_BYTES) {
      this.socket.send(frame);
      this.stalledSince = null;
    } else if (performance.now() - (this.stalledSince ??= performance.now()) > STALLED_MS) {
      // The network took nothing for seconds, and nobody has said so.
      this.connectionLost();
    }
  }

  /** The caller has given the agent something to answer. */
  ask() {
    this.askedAt = performance.now();
  }

  /** What the player says of itself. */
  played({ playing, peak, heldMs, wantedMs }) {
    if (this.state === "ended") return;
    this.levels = { caller: this.levels.caller, agent: peak };
    if (playing && !this.isPlaying) this.beganToPlay();
    if (!playing && this.isPlaying && this.state === "speaking") this.setState("listening");
    this.isPlaying = playing;
    if (playing && performance.now() - this.bufferToldAt > 1000) {
      this.bufferToldAt = performance.now();
      this.emit("buffer", { heldMs: Math.round(heldMs), wantedMs: Math.round(wantedMs) });
    }
  }

  beganToPlay() {
    if (this.isReady) this.setState("speaking");
    const waitedMs = performance.now() - (this.askedAt ?? -Infinity);
    this.askedAt = null;
    // What it says first is a greeting; what follows a hole in its sentence is no answer either.
    const isAnswer = this.hasSpoken && this.hasTurn && waitedMs < ANSWER_MAX_MS;
    this.hasSpoken = true;
    this.hasTurn = false;
    if (isAnswer) {
      const outputMs = 1000 * (this.audio.outputLatency || this.audio.baseLatency || 0);
      this.emit("latency", { answerMs: Math.round(waitedMs + outputMs) });
    }
  }

  // ------------------------------------------------------------------------------------- relay

  connect() {
    this.opened = false;
    this.isReady = false;
    this.stalledSince = null;
    // The second name lets one in to ask for its conversation where no new one would be taken.
    const names = this.resumeToken ? ["vocaris.v1", "vocaris.resume"] : ["vocaris.v1"];
    this.socket = new WebSocket(this.address(), names);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.opened = true;
      const { token, agent } = this.options;
      const hello = { type: "hello", rate: UPLINK_RATE };
      if (token) hello.token = token;
      if (agent) hello.agent = agent;
      if (this.resumeToken) hello.resume = this.resumeToken;
      this.tell(hello);
    };
    this.socket.onmessage = ({ data }) => {
      if (this.state === "ended") return;
      if (typeof data === "string") this.take(JSON.parse(data));
      else this.player.port.postMessage(data, [data]);
    };
    this.socket.onclose = ({ code }) => this.closed(code);
  }

  /** The relay's address for conversations, beside what `url` names. */
  address() {
    const address = new URL("web", new URL(this.options.url ?? HOME, HOME));
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    return address.href;
  }

  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  take(message) {
    switch (message.type) {
      case "ready":
        this.isReady = true;
        if (this.lostAt !== null && !message.returned) {
          this.emit("notice", { code: "anew", message: MESSAGES.anew });
        }
        this.resumeToken = message.resume ?? null;
        this.lostAt = null;
        this.attempts = 0;
        clearTimeout(this.timer);
        this.setState(this.isPlaying ? "speaking" : "listening");
        break;
      case "clear":
        this.player.port.postMessage("clear");
        if (this.isPlaying) this.interrupted();
        break;
      case "turn":
        this.hasTurn = message.who === "agent";
        this.emit("turn", { who: message.who });
        break;
      case "transcript":
      case "tool": {
        const { type, ...detail } = message;
        this.emit(type, detail);
        break;
      }
      case "notice":
        this.emit("notice", { code: message.code, message: message.message });
        break;
      case "error":
        this.emit("problem", { code: message.code, message: message.message, fatal: false });
        break;
      case "end":
        this.reason = message.reason || "ended";
        break;
    }
  }

  interrupted() {
    this.setState("interrupted");
    setTimeout(() => this.state === "interrupted" && this.setState("listening"), SHOWN_MS);
  }

  async closed(code) {
    if (this.state === "ended") return;
    if (this.reason) return this.finish(this.reason);
    if (this.resumeToken && code !== 1000 && code !== 1008) return this.connectionLost();
    if (!this.opened) return this.fail(await this.whyNotOpened());
    if (code === 1013) return this.fail("full");
    if (code === 1000) return this.finish("ended");
    this.fail("lost");
  }

  /** The connection is gone, or as good as gone: another goes on with the conversation. */
  connectionLost() {
    this.dropSocket();
    if (this.lostAt === null) {
      this.lostAt = performance.now();
      this.player.port.postMessage("clear");
      this.setState("reconnecting");
      window.addEventListener("online", this.cameOnline);
    }
    if (performance.now() - this.lostAt > RECONNECT_MS) return this.fail("lost");
    const waitMs = Math.min(RECONNECT_WAIT_MS * 2 ** this.attempts, RECONNECT_WAIT_MAX_MS);
    this.attempts++;
    // Everybody who was cut off at once does not come back at once.
    this.reconnectSoon(waitMs * (0.75 + 0.5 * Math.random()));
  }

  reconnectSoon(waitMs) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.state === "ended") return;
      this.dropSocket();
      this.connect();
      this.timer = setTimeout(() => this.connectionLost(), ATTEMPT_MS);
    }, waitMs);
  }

  dropSocket() {
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
  }

  /** Why the relay opened no conversation: a browser hides the answer it got. */
  async whyNotOpened() {
    const ready = new URL("readyz", this.address().replace(/^ws/, "http"));
    try {
      const signal = AbortSignal.timeout(3000);
      const answer = await fetch(ready, { cache: "no-store", mode: "cors", signal });
      if (answer.ok) return "origin";
      const { error } = await answer.json();
      return error in MESSAGES ? error : "full";
    } catch {
      return "unreachable";
    }
  }

  // ---------------------------------------------------------------------------------- the end

  fail(code) {
    this.problem(code, true);
    this.finish(code);
  }

  problem(code, fatal) {
    this.emit("problem", { code, message: MESSAGES[code] ?? code, fatal });
  }

  /** Ends it; the first end counts. */
  finish(reason) {
    if (this.state === "ended") return;
    this.release();
    this.setState("ended");
    this.emit("end", { reason });
  }

  release() {
    navigator.mediaDevices?.removeEventListener("devicechange", this.followDevices);
    document.removeEventListener("visibilitychange", this.followPage);
    if (this.stream) stopTracks(this.stream);
    if (this.audio && this.audio.state !== "closed") this.audio.close();
    window.removeEventListener("online", this.cameOnline);
    clearTimeout(this.timer);
    if (this.socket) {
      this.socket.onclose = null;
      this.socket.close(1000);
    }
  }

  setState(state) {
    if (this.state === state || this.state === "ended") return;
    this.state = state;
    this.emit("state", state);
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}

/** The word for what kept audio from starting. */
function codeOf(error) {
  if (error.code && typeof error.code === "string") return error.code;
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "microphone_denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "no_microphone";
    case "NotReadableError":
    case "AbortError":
      return "microphone_busy";
    default:
      return "no_audio";
  }
}
