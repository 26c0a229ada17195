//! One stereo WAV file (RIFF, 16-bit linear PCM, 8 kHz): the caller left, the agent right.
//!
//! In:       samples of one channel, anywhere: behind what is written, or over it.
//! Out:      a file that is whole at any moment: its header never claims what is not there.
//! Bounds:   as much as is held back from the file, so that what was cut need not be written twice:
//!           the caller says by [`Wav::flush_until`]; 2^32 bytes, the format's own, are 37 hours.
//! Not here: whose samples, and where they lie (`record::recordings`).
//!
//! What nobody spoke in is a hole of the file: it reads as silence and takes no room.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::call::tap::{Channel, PLACES_PER_SECOND};

/// RIFF, `fmt ` and `data`, up to the first sample.
const HEADER_BYTES: u64 = 44;
/// One sample of each channel.
const FRAME_BYTES: u64 = 4;
/// Samples of one channel silenced or put over others at a time, in the file.
const BLOCK_FRAMES: usize = 4_096;

/// A file in the making.
#[derive(Debug)]
pub(super) struct Wav {
    file: File,
    /// Where the window begins; what lies before it is in the file.
    base: u64,
    /// What is held back.
    window: Vec<[i16; 2]>,
    bytes: Vec<u8>,
}

impl Wav {
    /// A recording of nothing yet.
    pub(super) fn new(file: File) -> io::Result<Wav> {
        let wav = Wav { file, base: 0, window: Vec::new(), bytes: Vec::new() };
        wav.file.write_all_at(&header(0), 0)?;
        Ok(wav)
    }

    /// Where the file ends: samples from here on are held back.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Where everything that was put in ends.
    pub(super) fn end(&self) -> u64 {
        self.base + self.window.len() as u64
    }

    /// Puts samples of one channel where they belong.
    pub(super) fn put(&mut self, channel: Channel, place: u64, pcm: &[i16]) -> io::Result<()> {
        let late = (self.base.saturating_sub(place) as usize).min(pcm.len());
        let (late, rest) = pcm.split_at(late);
        let mut at = place;
        for block in late.chunks(BLOCK_FRAMES) {
            self.put_late(channel, at, block)?;
            at += block.len() as u64;
        }
        let start = at.saturating_sub(self.base) as usize;
        if self.window.len() < start + rest.len() && !rest.is_empty() {
            self.window.resize(start + rest.len(), [0; 2]);
        }
        for (frame, &sample) in self.window.iter_mut().skip(start).zip(rest) {
            frame[channel as usize] = sample;
        }
        Ok(())
    }

    /// Makes one channel silent from `place` on.
    pub(super) fn silence_from(&mut self, channel: Channel, place: u64) -> io::Result<()> {
        let silence = [0; BLOCK_FRAMES];
        let mut at = place;
        while at < self.base {
            let frames = (self.base - at).min(BLOCK_FRAMES as u64);
            self.put_late(channel, at, &silence[..frames as usize])?;
            at += frames;
        }
        for frame in self.window.iter_mut().skip((at - self.base) as usize) {
            frame[channel as usize] = 0;
        }
        Ok(())
    }

    /// Writes everything before `place` to the file.
    pub(super) fn flush_until(&mut self, place: u64) -> io::Result<()> {
        if place <= self.base {
            return Ok(());
        }
        let held = self.window.len().min((place - self.base) as usize);
        self.bytes.clear();
        for [left, right] in &self.window[..held] {
            self.bytes.extend_from_slice(&left.to_le_bytes());
            self.bytes.extend_from_slice(&right.to_le_bytes());
        }
        self.file.write_all_at(&self.bytes, offset(self.base))?;
        self.window.drain(..held);
        if place > self.base + held as u64 {
            self.file.set_len(offset(place))?;
        }
        self.base = place;
        // Behind the samples it claims: whoever is killed in between loses them and nothing else.
        self.file.write_all_at(&header(place), 0)
    }

    /// Ends the recording at `place`, or where its file ends already.
    pub(super) fn finish(mut self, place: u64) -> io::Result<()> {
        self.flush_until(place)
    }

    /// Puts samples over some that are in the file.
    fn put_late(&mut self, channel: Channel, place: u64, pcm: &[i16]) -> io::Result<()> {
        self.bytes.resize(pcm.len() * FRAME_BYTES as usize, 0);
        self.file.read_exact_at(&mut self.bytes, offset(place))?;
        let frames = self.bytes.chunks_exact_mut(FRAME_BYTES as usize);
        for (frame, sample) in frames.zip(pcm) {
            let at = channel as usize * 2;
            frame[at..at + 2].copy_from_slice(&sample.to_le_bytes());
        }
        self.file.write_all_at(&self.bytes, offset(place))
    }
}

/// Where the frame at `place` lies in the file.
const fn offset(place: u64) -> u64 {
    HEADER_BYTES + place * FRAME_BYTES
}

/// The header of so many frames.
fn header(frames: u64) -> [u8; HEADER_BYTES as usize] {
    let length = (frames * FRAME_BYTES).min(u64::from(u32::MAX) - HEADER_BYTES) as u32;
    let (rate, channels, bits) = (PLACES_PER_SECOND as u32, 2_u16, 16_u16);
    let mut header = [0; HEADER_BYTES as usize];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(length + HEADER_BYTES as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16_u32.to_le_bytes());
    // Linear PCM.
    put(&1_u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&rate.to_le_bytes());
    put(&(rate * FRAME_BYTES as u32).to_le_bytes());
    put(&(FRAME_BYTES as u16).to_le_bytes());
    put(&bits.to_le_bytes());
    put(b"data");
    put(&length.to_le_bytes());
    header
}
