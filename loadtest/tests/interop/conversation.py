"""Holds a conversation with a Gemini Live server through Google's own client, google-genai.

In:       the server's origin, a model and a key as arguments; on standard input a JSON object
          {"config": {...}, "acts": [...]}; the authority to trust in SSL_CERT_FILE.
Out:      one JSON line on standard output, {"sessions": [...]}: all that each connection heard.
          Exit code 1 and a line on standard error for an act that fails.
Bounds:   an event is awaited for AWAIT_SECONDS; the whole is bounded by whoever starts it.
Not here: judging what was heard; what is to be said (the test in Rust has both).

The acts are those of conversation.mjs:

| act | does |
|---|---|
| {"content": TEXT} | a turn of text that is complete |
| {"text": TEXT} | text as it is typed |
| {"noise_ms": N} | the next N ms of the noise below, in messages of 20 ms at 16 kHz |
| {"silence_ms": N} | as many zeros |
| {"await": EVENT} | waits for the next such event after the one awaited before |
| {"answer": OBJECT} | answers every tool call that is open with it |
| {"resume": true} | closes, and connects again with the newest handle |
"""

import asyncio
import base64
import json
import sys

from google import genai
from google.genai import errors, types
from websockets.exceptions import ConnectionClosed

AWAIT_SECONDS = 20
RATE_HZ = 16_000
MESSAGE_SAMPLES = RATE_HZ // 50


class Noise:
    """White noise by a linear congruential generator, 14 bits of each state."""

    def __init__(self):
        self.state = 1

    def pcm(self, samples):
        """The next samples, PCM16 little endian."""
        pcm = bytearray()
        for _ in range(samples):
            self.state = (self.state * 1_103_515_245 + 12_345) & 0xFFFF_FFFF
            sample = ((self.state >> 16) & 0x3FFF) - 0x2000
            pcm += sample.to_bytes(2, "little", signed=True)
        return bytes(pcm)


class Connection:
    """One connection: everything it has heard, and the events in order."""

    def __init__(self, session):
        self.session = session
        self.audio = bytearray()
        self.said = ""
        self.heard = ""
        self.calls = []
        self.open_calls = []
        self.handle = None
        self.go_away = None
        self.events = []
        self.awaited = 0
        self.news = asyncio.Event()
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        """Notes every message until the connection ends."""
        try:
            while True:
                async for message in self.session.receive():
                    self.note(message)
        except (errors.APIError, ConnectionClosed) as end:
            self.happened(f"closed: {end}")
        finally:
            self.news.set()

    def happened(self, event):
        self.events.append(event)
        self.news.set()

    def note(self, message):
        if message.session_resumption_update:
            update = message.session_resumption_update
            if update.resumable and update.new_handle:
                self.handle = update.new_handle
                self.happened("handle")
        if message.tool_call:
            for call in message.tool_call.function_calls:
                self.calls.append({"id": call.id, "name": call.name, "args": call.args})
                self.open_calls.append(call)
            self.happened("tool_call")
        if message.go_away:
            self.go_away = message.go_away.time_left
            self.happened("go_away")
        if message.server_content:
            self.note_content(message.server_content)

    def note_content(self, content):
        for part in (content.model_turn.parts or []) if content.model_turn else []:
            if part.inline_data:
                self.audio += part.inline_data.data
        for words, name in (
            (content.input_transcription, "input_transcription"),
            (content.output_transcription, "output_transcription"),
        ):
            if words and words.text:
                if name == "input_transcription":
                    self.heard += words.text
                else:
                    self.said += words.text
                self.happened(name)
        for name in ("generation_complete", "interrupted", "turn_complete"):
            if getattr(content, name):
                self.happened(name)

    async def await_event(self, event):
        """Waits for the next such event; what came between is passed over."""
        try:
            await asyncio.wait_for(self.until(event), AWAIT_SECONDS)
        except asyncio.TimeoutError:
            raise RuntimeError(f"no {event} in time: {self.events}") from None
        self.awaited = self.events.index(event, self.awaited) + 1

    async def until(self, event):
        while event not in self.events[self.awaited :]:
            if self.reader.done():
                self.reader.result()
                raise RuntimeError(f"no {event} before the end: {self.events}")
            self.news.clear()
            await self.news.wait()

    async def send_pcm(self, pcm):
        for at in range(0, len(pcm), 2 * MESSAGE_SAMPLES):
            piece = pcm[at : at + 2 * MESSAGE_SAMPLES]
            blob = types.Blob(data=piece, mime_type=f"audio/pcm;rate={RATE_HZ}")
            await self.session.send_realtime_input(audio=blob)

    async def answer(self, response):
        answers = [
            types.FunctionResponse(id=call.id, name=call.name, response=response)
            for call in self.open_calls
        ]
        self.open_calls = []
        await self.session.send_tool_response(function_responses=answers)

    def account(self):
        return {
            "audio": base64.b64encode(self.audio).decode(),
            "said": self.said,
            "heard": self.heard,
            "calls": self.calls,
            "go_away": self.go_away,
            "events": self.events,
        }


async def do(connection, noise, act):
    """One act, all but resume."""
    [(name, value)] = act.items()
    if name == "content":
        turn = types.Content(role="user", parts=[types.Part(text=value)])
        await connection.session.send_client_content(turns=turn, turn_complete=True)
    elif name == "text":
        await connection.session.send_realtime_input(text=value)
    elif name == "noise_ms":
        await connection.send_pcm(noise.pcm(value * RATE_HZ // 1000))
    elif name == "silence_ms":
        await connection.send_pcm(bytes(2 * value * RATE_HZ // 1000))
    elif name == "await":
        await connection.await_event(value)
    elif name == "answer":
        await connection.answer(value)
    else:
        raise ValueError(f"no such act: {name}")


async def converse(origin, model, key, plan):
    """All acts, over as many connections as they take. Returns the account of each."""
    options = types.HttpOptions(base_url=origin, api_version="v1beta")
    client = genai.Client(api_key=key, http_options=options)
    acts = list(plan["acts"])
    noise, handle, accounts = Noise(), None, []
    while True:
        config = types.LiveConnectConfig.model_validate(plan["config"])
        config.session_resumption = types.SessionResumptionConfig(handle=handle)
        async with client.aio.live.connect(model=model, config=config) as session:
            connection = Connection(session)
            while acts and acts[0] != {"resume": True}:
                await do(connection, noise, acts.pop(0))
            handle = connection.handle
            await session.close()
            await connection.reader
        accounts.append(connection.account())
        if not acts:
            return accounts
        acts.pop(0)


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: conversation.py ORIGIN MODEL KEY < PLAN")
    origin, model, key = sys.argv[1:]
    accounts = asyncio.run(converse(origin, model, key, json.load(sys.stdin)))
    print(json.dumps({"sessions": accounts}))


if __name__ == "__main__":
    main()
