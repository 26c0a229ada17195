/**
 * A relay between Twilio Media Streams and the Gemini Live API, as a good engineer writes it in a
 * day: on `ws`, with what Node brings. It stands beside Vocaris in `loadtest compare`.
 *
 * In:       RELAY_LISTEN, RELAY_PUBLIC_URL, RELAY_GEMINI_URL, RELAY_GEMINI_MODEL,
 *           RELAY_GEMINI_CA_FILE (one more root), GEMINI_API_KEY, TWILIO_AUTH_TOKEN (signatures are
 *           checked where it is set).
 * Out:      TwiML for the webhook; each call joined to a model session. `listening on ADDRESS` on
 *           standard output. It ends on SIGTERM, and when its standard input ends.
 * Bounds:   EARLY_FRAMES_MAX frames wait for the model; FORM_BYTES_MAX of a webhook;
 *           MESSAGE_BYTES_MAX of a message; SETUP_WAIT_MS until the model is ready;
 *           UNSENT_BYTES_MAX unsent on a socket. Beyond any of them the call ends.
 * Not here: tools, resumption and rotation of model sessions, recording, metrics.
 *
 * Audio: mu-law by a table of 256; 8 to 16 kHz and 24 to 8 kHz by FIR filters (windowed sinc, 32
 * and 96 taps, some 2 ms), which keep their memory across messages, so as many samples leave as came.
 * Twilio queues up to ten minutes and forgets them on `clear`: model audio is passed on as it
 * comes, not paced, one message for each of the model's, and `interrupted` becomes `clear`. A mark
 * follows each turn.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { rootCertificates } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';

const EARLY_FRAMES_MAX = 500;
const FORM_BYTES_MAX = 64 * 1024;
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
const SETUP_WAIT_MS = 15_000;
const UNSENT_BYTES_MAX = 8 * 1024 * 1024;

const PATH = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent';

const settings = {
  listen: need('RELAY_LISTEN'),
  publicUrl: need('RELAY_PUBLIC_URL').replace(/\/+$/, ''),
  geminiUrl: need('RELAY_GEMINI_URL').replace(/\/+$/, ''),
  model: need('RELAY_GEMINI_MODEL'),
  apiKey: need('GEMINI_API_KEY'),
  authToken: process.env.TWILIO_AUTH_TOKEN,
  ca: authorities(process.env.RELAY_GEMINI_CA_FILE),
};

/** A setting that must be there. */
function need(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`relay-node: ${name} is not set`);
    process.exit(1);
  }
  return value;
}

/** The usual roots and those of one file; undefined: the usual ones. */
function authorities(file) {
  return file ? [...rootCertificates, readFileSync(file, 'utf8')] : undefined;
}

// --- audio ------------------------------------------------------------------------------------

/** ITU-T G.711 mu-law to 16-bit PCM. */
const MULAW_DECODE = Int16Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return bits & 0x80 ? -magnitude : magnitude;
});

/** 14-bit PCM (the upper bits of 16) to mu-law: 16,384 entries by value + 8,192. */
const MULAW_ENCODE = Uint8Array.from({ length: 16_384 }, (_, index) => {
  const pcm = (index - 8192) * 4;
  const sign = pcm < 0 ? 0x80 : 0;
  const biased = Math.min(Math.abs(pcm), 32_635) + 0x84;
  const segment = 24 - Math.clz32(biased);
  const step = (biased >> (segment + 3)) & 0x0f;
  return ~(sign | (segment << 4) | step) & 0xff;
});

/** A Blackman-windowed sinc: `cutoff` in cycles a sample, the sum of the taps is `gain`. */
function lowPass(length, cutoff, gain) {
  // Doubles: what the engine computes in, so nothing is converted on the way.
  const taps = Float64Array.from({ length }, (_, n) => {
    const x = n - (length - 1) / 2;
    const sinc = x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x);
    const turn = (2 * Math.PI * n) / (length - 1);
    return sinc * (0.42 - 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn));
  });
  const sum = taps.reduce((total, tap) => total + tap, 0);
  return taps.map((tap) => (tap * gain) / sum);
}

const UP_TAPS = lowPass(64, 0.25 * 0.94, 2);
// Newest sample last, as the window holds them.
const UP_EVEN = UP_TAPS.filter((_, n) => n % 2 === 0).reverse();
const UP_ODD = UP_TAPS.filter((_, n) => n % 2 === 1).reverse();
const DOWN_TAPS = lowPass(96, (0.5 / 3) * 0.94, 1);

/** The sum of window[from + n] * taps[n], in four lanes; the taps are a multiple of four. */
function dot(window, from, taps) {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let n = 0; n < taps.length; n += 4) {
    a += window[from + n] * taps[n];
    b += window[from + n + 1] * taps[n + 1];
    c += window[from + n + 2] * taps[n + 2];
    d += window[from + n + 3] * taps[n + 3];
  }
  return a + b + c + d;
}

function clip(value) {
  return value > 32_767 ? 32_767 : value < -32_768 ? -32_768 : Math.round(value);
}

/** A filter's memory with room for what comes next: at least `count` samples behind `kept`. */
function withRoom(window, kept, count) {
  if (window.length >= kept + count) return window;
  const longer = new Float64Array(kept + count);
  longer.set(window.subarray(0, kept));
  return longer;
}

/** Mu-law at 8 kHz to PCM at 16 kHz, little endian; remembers what its filter needs. */
class Uplink {
  #window = new Float64Array(UP_EVEN.length - 1 + 160);

  convert(code) {
    const count = code.length;
    const kept = UP_EVEN.length - 1;
    const window = (this.#window = withRoom(this.#window, kept, count));
    for (let n = 0; n < count; n += 1) window[kept + n] = MULAW_DECODE[code[n]];
    const samples = new Int16Array(count * 2);
    for (let n = 0; n < count; n += 1) {
      samples[2 * n] = clip(dot(window, n, UP_EVEN));
      samples[2 * n + 1] = clip(dot(window, n, UP_ODD));
    }
    window.copyWithin(0, count, count + kept);
    // In the order of this machine, which is little-endian wherever this relay is measured.
    return Buffer.from(samples.buffer);
  }
}

/** PCM at 24 kHz, little endian, cut anywhere, to mu-law at 8 kHz. */
class Downlink {
  #window = new Float64Array(DOWN_TAPS.length - 1 + 960);
  /** Bytes that make no three samples yet. */
  #rest = Buffer.alloc(0);

  convert(bytes) {
    const all = this.#rest.length ? Buffer.concat([this.#rest, bytes]) : bytes;
    const count = Math.floor(all.length / 6);
    const kept = DOWN_TAPS.length - 1;
    const window = (this.#window = withRoom(this.#window, kept, count * 3));
    const view = new DataView(all.buffer, all.byteOffset);
    for (let n = 0; n < count * 3; n += 1) window[kept + n] = view.getInt16(n * 2, true);
    this.#rest = Buffer.from(all.subarray(count * 6));
    const code = Buffer.allocUnsafe(count);
    for (let n = 0; n < count; n += 1) {
      code[n] = MULAW_ENCODE[(clip(dot(window, n * 3, DOWN_TAPS)) >> 2) + 8192];
    }
    window.copyWithin(0, count * 3, count * 3 + kept);
    return code;
  }

  /** The model was interrupted: what was on its way through the filter is void. */
  reset() {
    this.#rest = Buffer.alloc(0);
    this.#window.fill(0);
  }
}

// --- a call -----------------------------------------------------------------------------------

/** One call: Twilio's stream, the model's session, and the audio between. */
class Call {
  #phone;
  #model;
  #uplink = new Uplink();
  #downlink = new Downlink();
  #streamSid = '';
  #ready = false;
  #early = [];
  #turns = 0;
  #setupTimer;

  constructor(phone) {
    this.#phone = phone;
    phone.on('message', (data) => this.#guard(() => this.#phoneSaid(JSON.parse(data))));
    phone.on('close', () => this.end());
    phone.on('error', () => this.end());
  }

  /** A message that is not what it should be ends its own call only. */
  #guard(handle) {
    try {
      handle();
    } catch (error) {
      console.error(`relay-node: ${error.message}`);
      this.end();
    }
  }

  #phoneSaid(message) {
    switch (message.event) {
      case 'media':
        this.#hear(this.#uplink.convert(Buffer.from(message.media.payload, 'base64')));
        break;
      case 'start':
        this.#streamSid = message.start.streamSid;
        this.#dial(message.start.customParameters?.from ?? 'unknown');
        break;
      case 'stop':
        this.end();
        break;
      default:
    }
  }

  #hear(pcm) {
    if (!this.#ready) {
      if (this.#early.push(pcm) > EARLY_FRAMES_MAX) this.end();
      return;
    }
    const audio = { mimeType: 'audio/pcm;rate=16000', data: pcm.toString('base64') };
    this.#toModel({ realtimeInput: { audio } });
  }

  #dial(from) {
    const model = new WebSocket(settings.geminiUrl + PATH, {
      headers: { 'x-goog-api-key': settings.apiKey },
      ca: settings.ca,
      maxPayload: MESSAGE_BYTES_MAX,
      perMessageDeflate: false,
    });
    this.#model = model;
    this.#setupTimer = setTimeout(() => this.end(), SETUP_WAIT_MS);
    model.on('open', () => {
      const text = `You are a friendly receptionist on the phone. The caller's number is ${from}.`;
      this.#toModel({
        setup: {
          model: settings.model,
          generationConfig: {
            responseModalities: ['AUDIO'],
            speechConfig: { voiceConfig: { prebuiltVoiceConfig: { voiceName: 'Kore' } } },
          },
          systemInstruction: { parts: [{ text }] },
          contextWindowCompression: { slidingWindow: {} },
        },
      });
    });
    // Text or binary: the service sends both.
    model.on('message', (data) => this.#guard(() => this.#modelSaid(JSON.parse(data))));
    model.on('close', () => this.end());
    model.on('error', (error) => {
      console.error(`relay-node: model: ${error.message}`);
      this.end();
    });
  }

  #modelSaid(message) {
    if (message.setupComplete && !this.#ready) this.#begin();
    const content = message.serverContent;
    if (!content) return;
    if (content.interrupted) {
      this.#downlink.reset();
      this.#toPhone({ event: 'clear', streamSid: this.#streamSid });
      return;
    }
    for (const part of content.modelTurn?.parts ?? []) {
      const audio = part.inlineData?.data;
      if (audio === undefined) continue;
      const code = this.#downlink.convert(Buffer.from(audio, 'base64'));
      if (code.length > 0) {
        const media = { payload: code.toString('base64') };
        this.#toPhone({ event: 'media', streamSid: this.#streamSid, media });
      }
    }
    if (content.turnComplete) {
      this.#turns += 1;
      const mark = { name: `turn-${this.#turns}` };
      this.#toPhone({ event: 'mark', streamSid: this.#streamSid, mark });
    }
  }

  /** The model listens: asks for a greeting, and says what the caller has said meanwhile. */
  #begin() {
    clearTimeout(this.#setupTimer);
    this.#ready = true;
    const turns = [{ role: 'user', parts: [{ text: 'Greet the caller.' }] }];
    this.#toModel({ clientContent: { turns, turnComplete: true } });
    for (const pcm of this.#early) this.#hear(pcm);
    this.#early = [];
  }

  #toModel(message) {
    this.#send(this.#model, message);
  }

  #toPhone(message) {
    this.#send(this.#phone, message);
  }

  #send(socket, message) {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount > UNSENT_BYTES_MAX) {
      this.end();
      return;
    }
    socket.send(JSON.stringify(message));
  }

  /** Closes both sides; more than once does no harm. */
  end() {
    clearTimeout(this.#setupTimer);
    for (const socket of [this.#phone, this.#model]) {
      if (socket?.readyState === WebSocket.OPEN) socket.close(1000);
      else if (socket?.readyState === WebSocket.CONNECTING) socket.terminate();
    }
  }
}

// --- the door ---------------------------------------------------------------------------------

/** X-Twilio-Signature: HMAC-SHA1 over the URL and the sorted form. */
function isSigned(request, url, form) {
  if (!settings.authToken) return true;
  const hmac = createHmac('sha1', settings.authToken).update(url);
  const names = [...new Set(form.keys())].sort();
  for (const name of names) {
    for (const value of [...new Set(form.getAll(name))].sort()) hmac.update(name + value);
  }
  const expected = hmac.digest();
  const shown = Buffer.from(request.headers['x-twilio-signature'] ?? '', 'base64');
  return shown.length === expected.length && timingSafeEqual(shown, expected);
}

function escape(text) {
  const names = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (letter) => names[letter]);
}

function twiml(from) {
  const url = `${settings.publicUrl.replace(/^http/, 'ws')}/twilio/media`;
  return (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Connect>' +
    `<Stream url="${escape(url)}"><Parameter name="from" value="${escape(from)}"/></Stream>` +
    '</Connect></Response>'
  );
}

const server = createServer((request, response) => {
  if (request.method !== 'POST' || request.url !== '/twilio/incoming') {
    response.writeHead(404).end();
    return;
  }
  const pieces = [];
  let bytes = 0;
  request.on('data', (piece) => {
    bytes += piece.length;
    if (bytes > FORM_BYTES_MAX) {
      response.writeHead(413, { connection: 'close' }).end();
      request.destroy();
      return;
    }
    pieces.push(piece);
  });
  request.on('error', () => response.destroy());
  request.on('end', () => {
    const form = new URLSearchParams(Buffer.concat(pieces).toString('utf8'));
    if (!isSigned(request, settings.publicUrl + request.url, form)) {
      response.writeHead(403).end();
      return;
    }
    const body = twiml(form.get('From') ?? 'unknown');
    response.writeHead(200, { 'content-type': 'text/xml' }).end(body);
  });
});

const streams = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: MESSAGE_BYTES_MAX,
});
server.on('upgrade', (request, socket, head) => {
  const url = settings.publicUrl.replace(/^http/, 'ws') + request.url;
  if (request.url !== '/twilio/media' || !isSigned(request, url, new URLSearchParams())) {
    socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  streams.handleUpgrade(request, socket, head, (phone) => new Call(phone));
});

const colon = settings.listen.lastIndexOf(':');
const host = settings.listen.slice(0, colon).replace(/^\[|\]$/g, '');
server.on('error', (error) => {
  console.error(`relay-node: ${error.message}`);
  process.exit(1);
});
server.listen(Number(settings.listen.slice(colon + 1)), host, () => {
  const { address, port } = server.address();
  console.log(`listening on ${address.includes(':') ? `[${address}]` : address}:${port}`);
});

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
// Whoever started us has gone.
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
