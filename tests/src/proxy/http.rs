//! HTTP/1.1 as far as a proxy needs it: heads, and bodies that are passed on and harmed on the way.

use std::io::{self, BufRead, Write};
use std::time::Duration;

/// Bytes that are passed on at once.
const CHUNK: usize = 64 * 1024;
/// A head that is longer is none of ours.
const HEAD_MAX: usize = 256 * 1024;

/// The first line and the headers of a request or an answer.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub first: String,
    headers: Vec<(String, String)>,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(u64),
    Chunked,
    ToTheEnd,
}

/// What happens to a body on the way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Harm {
    /// One bit at this place is another.
    pub flip: Option<u64>,
    /// After so many bytes it breaks off.
    pub cut: Option<u64>,
    /// After so many bytes nothing comes for a while.
    pub stall: Option<(u64, Duration)>,
    /// Bytes a second at most.
    pub slow: Option<u64>,
}

impl Head {
    /// The next head; `None` if the connection ends before it.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let mut line = Vec::new();
            length += from.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') || length > HEAD_MAX {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            match (line.is_empty(), lines.is_empty()) {
                (true, true) => {}
                (true, false) => break,
                (false, _) => lines.push(line),
            }
        }
        let headers = lines.iter().skip(1).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        });
        Ok(Some(Self {
            first: lines[0].clone(),
            headers: headers.collect(),
        }))
    }

    pub fn answer(status: u16, length: usize) -> Self {
        Self {
            first: format!("HTTP/1.1 {status} as the test wants"),
            headers: vec![
                ("Content-Length".to_owned(), length.to_string()),
                ("Content-Type".to_owned(), "application/xml".to_owned()),
            ],
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        (text + "\r\n").into_bytes()
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        let status = self.first.split(' ').nth(1).and_then(|text| text.parse().ok());
        status.unwrap_or_default()
    }

    /// A request has a body only if it says so.
    pub fn length_of_request(&self) -> Length {
        self.said_length().unwrap_or(Length::Bytes(0))
    }

    pub fn length_of_answer(&self, method: &str) -> Length {
        let status = self.status();
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Length::Bytes(0);
        }
        self.said_length().unwrap_or(Length::ToTheEnd)
    }

    fn said_length(&self) -> Option<Length> {
        let chunked = self.get("transfer-encoding");
        if chunked.is_some_and(|coding| coding.to_lowercase().contains("chunked")) {
            return Some(Length::Chunked);
        }
        self.get("content-length")?.parse().ok().map(Length::Bytes)
    }
}

fn broke_off() -> io::Error {
    io::Error::other("the test breaks it off here")
}

/// Where a body has come to.
pub(super) struct Passing<'a> {
    pub harm: Harm,
    /// Told of all bytes that were passed on.
    pub count: &'a dyn Fn(u64),
    at: u64,
}

impl<'a> Passing<'a> {
    pub fn new(harm: Harm, count: &'a dyn Fn(u64)) -> Self {
        Self { harm, count, at: 0 }
    }

    /// Passes a body on; an error where it breaks off.
    pub fn pass(&mut self, from: &mut impl BufRead, to: &mut impl Write, length: Length) -> io::Result<()> {
        match length {
            Length::Bytes(bytes) => self.exactly(from, to, bytes),
            Length::Chunked => self.chunks(from, to),
            Length::ToTheEnd => loop {
                let ready = from.fill_buf()?.len().min(CHUNK) as u64;
                if ready == 0 {
                    return Ok(());
                }
                self.exactly(from, to, ready)?;
            },
        }
    }

    fn chunks(&mut self, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            to.write_all(line.as_bytes())?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| broke_off())?;
            self.exactly(from, to, size)?;
            // The end of the chunk, or of the trailer, which no store of ours sends.
            let mut end = String::new();
            from.read_line(&mut end)?;
            to.write_all(end.as_bytes())?;
            if size == 0 {
                return to.flush();
            }
        }
    }

    fn exactly(&mut self, from: &mut impl BufRead, to: &mut impl Write, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            if self.harm.cut.is_some_and(|cut| cut <= self.at) {
                to.flush()?;
                return Err(broke_off());
            }
            if let Some((_, pause)) = self.harm.stall.filter(|(place, _)| *place <= self.at) {
                to.flush()?;
                std::thread::sleep(pause);
                self.harm.stall = None;
            }
            let read = from.read(&mut buffer[..CHUNK.min(left as usize)])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let piece = &mut buffer[..read];
            if let Some(flip) = self.harm.flip
                && (self.at..self.at + read as u64).contains(&flip)
            {
                piece[(flip - self.at) as usize] ^= 0x10;
            }
            to.write_all(piece)?;
            self.at += read as u64;
            left -= read as u64;
            (self.count)(read as u64);
            if let Some(slow) = self.harm.slow {
                std::thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / slow.max(1)));
            }
        }
        to.flush()
    }
}
