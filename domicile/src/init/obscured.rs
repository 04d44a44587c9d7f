//! Passwords as an `rclone.conf` has them: obscured, which is meant to keep them from being read over a shoulder and from
//! nothing else. The key is the same for everybody and published.

use aes::Aes256;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};

/// From rclone's source, `fs/config/obscure/obscure.go`, where it is called `cryptKey`.
const KEY: [u8; 32] = [
    0x9c, 0x93, 0x5b, 0x48, 0x73, 0x0a, 0x55, 0x4d, 0x6b, 0xfd, 0x7c, 0x63, 0xc8, 0x86, 0xa9, 0x2b, //
    0xd3, 0x90, 0x19, 0x8e, 0xb8, 0x12, 0x8a, 0xfb, 0xf4, 0xde, 0x16, 0x2b, 0x8b, 0x95, 0xf6, 0x38,
];
/// Bytes at the beginning from which AES begins to count.
const START: usize = 16;

/// What was obscured: base64 of a random start and what AES-256 in counter mode makes of the text. `None` if this is no such
/// thing, perhaps a password that somebody wrote there as it is.
pub fn revealed(obscured: &str) -> Option<String> {
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(obscured).ok()?;
    let (start, text) = bytes.split_at_mut_checked(START)?;
    let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&KEY, start).ok()?;
    cipher.apply_keystream(text);
    let text = String::from_utf8(text.to_vec()).ok()?;
    // A wrong text becomes noise. No server takes a password with control characters in it.
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rclone_has_obscured_is_revealed() {
        // By `rclone obscure`, version 1.75.
        for (obscured, plain) in [
            ("XfCgjoTNYd5v_FUlMyiM60tF1lvh7A", "potato"),
            (
                "_WFr_q_efg72Slx-vClXuPSpB1az4l7w0clr23hTsdZYw2UYoS3LfzV3m-7FFHy4jrS6XSc4kU4CjRxZNrno",
                "a long pass word, \"quoted\" = and #more; Größe",
            ),
        ] {
            assert_eq!(revealed(obscured).as_deref(), Some(plain));
        }
    }

    #[test]
    fn what_is_not_obscured_is_not_revealed() {
        for text in [
            "",
            "secret",
            "not base64!",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "obscured-and-not-to-be-seen",
        ] {
            assert_eq!(revealed(text), None, "{text}");
        }
    }
}
