//! Files of problems: the lines of `placement`, written and read as a stream, compressed if the name says so.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use anyhow::Context as _;
use domicile_placement::Problem;
use domicile_placement::problem_file::{Reader, lines};
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::inventory::decode::decoded;

/// Longest line that is read, in bytes: a profile that refuses thousands of backends fits, a file without lines does not.
const LINE_MAX: u64 = 64 << 20;
/// Text that becomes one zstd frame, in bytes.
const FRAME: usize = 4 << 20;

/// Writes a problem.
pub fn write(path: &Path, problem: &Problem) -> anyhow::Result<()> {
    let unwritten = || format!("the problem could not be written to `{}`", path.display());
    let file = BufWriter::new(File::create(path).with_context(unwritten)?);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let written = match ending {
        Some("gz") => {
            let mut encoder = GzEncoder::new(file, flate2::Compression::fast());
            write_lines(&mut encoder, problem).and_then(|()| Ok(encoder.finish()?.flush()?))
        }
        Some("zst") => {
            let mut frames = ZstdFrames {
                sink: file,
                text: Vec::with_capacity(FRAME),
            };
            write_lines(&mut frames, problem).and_then(|()| Ok(frames.flush()?))
        }
        _ => {
            let mut file = file;
            write_lines(&mut file, problem).and_then(|()| Ok(file.flush()?))
        }
    };
    written.with_context(unwritten)
}

fn write_lines(sink: &mut impl Write, problem: &Problem) -> anyhow::Result<()> {
    for line in lines(problem) {
        sink.write_all(line?.as_bytes())?;
        sink.write_all(b"\n")?;
    }
    Ok(())
}

/// Writes text as zstd frames one after another. The encoder takes whole texts, and ends the program if it cannot write:
/// so it writes to memory.
struct ZstdFrames<W: Write> {
    sink: W,
    text: Vec<u8>,
}

impl<W: Write> Write for ZstdFrames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= FRAME {
            self.end_frame()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.text.is_empty() {
            self.end_frame()?;
        }
        self.sink.flush()
    }
}

impl<W: Write> ZstdFrames<W> {
    fn end_frame(&mut self) -> io::Result<()> {
        let frame = compress_to_vec(&self.text[..], CompressionLevel::Fastest);
        self.text.clear();
        self.sink.write_all(&frame)
    }
}

/// Reads a problem, `-` from standard input; its first bytes tell how it is compressed.
pub fn read(path: &Path) -> anyhow::Result<Problem> {
    let name = path.display();
    let text = if path.as_os_str() == "-" {
        decoded(io::stdin())
    } else {
        File::open(path).and_then(decoded)
    };
    let text = text.with_context(|| format!("the problem `{name}` could not be read"))?;
    let mut text = BufReader::with_capacity(1 << 16, text);
    let mut reader = Reader::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = text
            .by_ref()
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .with_context(|| {
                format!("the problem `{name}` could not be read, it may be cut off or damaged")
            })?;
        if read == 0 {
            break;
        }
        anyhow::ensure!(
            line.ends_with(b"\n") || (read as u64) < LINE_MAX,
            "the problem `{name}` has a line of more than {LINE_MAX} bytes: it is no problem file"
        );
        let text = std::str::from_utf8(&line)
            .with_context(|| format!("the problem `{name}` is no UTF-8 text"))?
            .trim_end_matches(['\n', '\r']);
        reader
            .line(text)
            .with_context(|| format!("the problem `{name}` was refused"))?;
    }
    reader
        .finish()
        .with_context(|| format!("the problem `{name}` was refused"))
}
