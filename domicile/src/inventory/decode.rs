//! Inventories as text, whatever they were compressed with.

use std::io::{self, BufRead, BufReader, Read};

use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Memory that decoding xz may take, in KiB: more than the largest setting of the usual tools needs.
const XZ_MEMORY_KIB: u32 = 100 * 1024;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The text of an inventory. Its first bytes tell how it is compressed, so that a pipe needs no file name.
///
/// # Errors
/// What reading the first bytes says.
pub fn decoded(source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut source = BufReader::new(source);
    let mut first = Vec::new();
    // A pipe may hand over fewer bytes at first than the longest magic has.
    source
        .by_ref()
        .take(XZ_MAGIC.len() as u64)
        .read_to_end(&mut first)?;
    let kind = first.clone();
    let whole = BufReader::new(io::Cursor::new(first).chain(source));
    if kind.starts_with(&ZSTD_MAGIC) || is_skippable(&kind) {
        return Ok(Box::new(ZstdFrames {
            source: whole,
            decoder: FrameDecoder::new(),
            within: false,
        }));
    }
    if kind.starts_with(&XZ_MAGIC) {
        return Ok(Box::new(XzReader::new_mem_limit(whole, true, XZ_MEMORY_KIB)));
    }
    if kind.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(whole)));
    }
    Ok(Box::new(whole))
}

/// A zstd frame that holds no data, as parallel tools write: 0x184D2A50 to 0x184D2A5F, little-endian.
fn is_skippable(magic: &[u8]) -> bool {
    matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// All frames of a zstd file, one after another; the decoder knows only one.
struct ZstdFrames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame was begun and is not yet handed out whole.
    within: bool,
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin_frame()?;
                continue;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.end_frame()?;
                continue;
            }
            let step = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder
                .decode_blocks(&mut self.source, step)
                .map_err(io::Error::other)?;
        }
    }
}

impl<R: BufRead> ZstdFrames<R> {
    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.init(&mut self.source) {
            Ok(()) => self.within = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.within = false;
        let written = self.decoder.get_checksum_from_data();
        if written.is_some() && written != self.decoder.get_calculated_checksum() {
            return Err(io::Error::other("a checksum does not match"));
        }
        Ok(())
    }
}
