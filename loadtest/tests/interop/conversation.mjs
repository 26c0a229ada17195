// Holds a conversation with a Gemini Live server through Google's own client, @google/genai.
//
// In:       the package's folder, the server's origin, a model and a key as arguments; on standard
//           input a JSON object {"config": {...}, "acts": [...]}; the authority to trust in
//           NODE_EXTRA_CA_CERTS.
// Out:      one JSON line on standard output, {"sessions": [...]}: all that each connection heard.
//           Exit code 1 and a line on standard error for an act that fails.
// Bounds:   an event is awaited for AWAIT_MS; the whole is bounded by whoever starts it.
// Not here: judging what was heard; what is to be said (the test in Rust has both). The acts are
//           those of conversation.py, which lists them.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const AWAIT_MS = 20_000;
const RATE_HZ = 16_000;
const MESSAGE_SAMPLES = RATE_HZ / 50;

// White noise by a linear congruential generator, 14 bits of each state.
class Noise {
  state = 1;

  // The next samples, PCM16 little endian.
  pcm(samples) {
    const pcm = Buffer.alloc(2 * samples);
    for (let n = 0; n < samples; n += 1) {
      this.state = (Math.imul(this.state, 1_103_515_245) + 12_345) >>> 0;
      pcm.writeInt16LE(((this.state >>> 16) & 0x3fff) - 0x2000, 2 * n);
    }
    return pcm;
  }
}

// One connection: everything it has heard, and the events in order.
class Connection {
  session = null;
  audio = [];
  said = "";
  heard = "";
  calls = [];
  openCalls = [];
  handle = null;
  goAway = null;
  events = [];
  awaited = 0;
  isClosed = false;
  // Called at the next event.
  wake = () => {};

  callbacks() {
    return {
      onmessage: (message) => this.note(message),
      onerror: (error) => this.happened(`error: ${error.message}`),
      onclose: (close) => {
        this.isClosed = true;
        this.happened(`closed: ${close.code} ${close.reason}`);
      },
    };
  }

  happened(event) {
    this.events.push(event);
    this.wake();
  }

  note(message) {
    const update = message.sessionResumptionUpdate;
    if (update?.resumable && update.newHandle) {
      this.handle = update.newHandle;
      this.happened("handle");
    }
    if (message.toolCall) {
      for (const call of message.toolCall.functionCalls) {
        this.calls.push({ id: call.id, name: call.name, args: call.args });
        this.openCalls.push(call);
      }
      this.happened("tool_call");
    }
    if (message.goAway) {
      this.goAway = message.goAway.timeLeft;
      this.happened("go_away");
    }
    if (message.serverContent) this.noteContent(message.serverContent);
  }

  noteContent(content) {
    for (const part of content.modelTurn?.parts ?? []) {
      if (part.inlineData) this.audio.push(Buffer.from(part.inlineData.data, "base64"));
    }
    if (content.inputTranscription?.text) {
      this.heard += content.inputTranscription.text;
      this.happened("input_transcription");
    }
    if (content.outputTranscription?.text) {
      this.said += content.outputTranscription.text;
      this.happened("output_transcription");
    }
    if (content.generationComplete) this.happened("generation_complete");
    if (content.interrupted) this.happened("interrupted");
    if (content.turnComplete) this.happened("turn_complete");
  }

  // Waits until `done` holds, looked at after every event.
  async until(what, done) {
    const deadline = Date.now() + AWAIT_MS;
    while (!done()) {
      const left = deadline - Date.now();
      if (this.isClosed || left <= 0) throw new Error(`no ${what}: ${this.events}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  // Waits for the next such event; what came between is passed over.
  async awaitEvent(event) {
    await this.until(event, () => this.events.indexOf(event, this.awaited) >= 0);
    this.awaited = this.events.indexOf(event, this.awaited) + 1;
  }

  sendPcm(pcm) {
    for (let at = 0; at < pcm.length; at += 2 * MESSAGE_SAMPLES) {
      const data = pcm.subarray(at, at + 2 * MESSAGE_SAMPLES).toString("base64");
      this.session.sendRealtimeInput({ audio: { data, mimeType: `audio/pcm;rate=${RATE_HZ}` } });
    }
  }

  answer(response) {
    const functionResponses = this.openCalls.map(({ id, name }) => ({ id, name, response }));
    this.openCalls = [];
    this.session.sendToolResponse({ functionResponses });
  }

  account() {
    return {
      audio: Buffer.concat(this.audio).toString("base64"),
      said: this.said,
      heard: this.heard,
      calls: this.calls,
      go_away: this.goAway,
      events: this.events,
    };
  }
}

// One act, all but resume.
async function perform(connection, noise, act) {
  const [[name, value]] = Object.entries(act);
  if (name === "content") {
    const turns = [{ role: "user", parts: [{ text: value }] }];
    connection.session.sendClientContent({ turns, turnComplete: true });
  } else if (name === "text") {
    connection.session.sendRealtimeInput({ text: value });
  } else if (name === "noise_ms") {
    connection.sendPcm(noise.pcm((value * RATE_HZ) / 1000));
  } else if (name === "silence_ms") {
    connection.sendPcm(Buffer.alloc((2 * value * RATE_HZ) / 1000));
  } else if (name === "await") {
    await connection.awaitEvent(value);
  } else if (name === "answer") {
    connection.answer(value);
  } else {
    throw new Error(`no such act: ${name}`);
  }
}

// All acts, over as many connections as they take. Returns the account of each.
async function converse({ GoogleGenAI }, [origin, model, apiKey], plan) {
  const httpOptions = { baseUrl: origin, apiVersion: "v1beta" };
  const client = new GoogleGenAI({ apiKey, httpOptions });
  const acts = [...plan.acts];
  const noise = new Noise();
  const accounts = [];
  let handle;
  for (;;) {
    const connection = new Connection();
    const config = { ...plan.config, sessionResumption: handle ? { handle } : {} };
    const callbacks = connection.callbacks();
    connection.session = await client.live.connect({ model, config, callbacks });
    while (acts.length > 0 && !acts[0].resume) await perform(connection, noise, acts.shift());
    handle = connection.handle;
    connection.session.close();
    await connection.until("close", () => connection.isClosed);
    accounts.push(connection.account());
    if (acts.length === 0) return accounts;
    acts.shift();
  }
}

const [folder, ...server] = process.argv.slice(2);
if (server.length !== 3) {
  console.error("usage: conversation.mjs FOLDER ORIGIN MODEL KEY < PLAN");
  process.exit(1);
}
try {
  const library = createRequire(join(folder, "package.json"))("@google/genai");
  const sessions = await converse(library, server, JSON.parse(readFileSync(0, "utf8")));
  process.stdout.write(`${JSON.stringify({ sessions })}\n`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
