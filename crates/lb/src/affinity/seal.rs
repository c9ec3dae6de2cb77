//! Text that nobody else can make, change or read.
//!
//! The tag is HMAC-SHA256 over the name and the plain bytes, cut to 16 bytes, under a key derived from
//! the secret. It is also what the bytes are hidden by: they are combined by exclusive or with
//! HMAC-SHA256 over the tag and a counter, under a second key. The same bytes give the same text; that
//! two cookies are of the same endpoint and time is all that it tells. (The construction is that of SIV,
//! RFC 5297, with HMAC in the place of AES.)

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

const TAG: usize = 16;

/// The longest text that is looked at.
const TEXT_MAX: usize = 1024;

/// Two keys made of one secret.
#[derive(Clone)]
pub(super) struct Sealer {
    tag: HmacSha256,
    stream: HmacSha256,
}

impl Sealer {
    pub(super) fn new(secret: &[u8]) -> Self {
        let secret = keyed(secret);
        let derive = |purpose: &[u8]| {
            let key = secret.clone().chain_update(purpose).finalize();
            keyed(&key.into_bytes())
        };
        Self {
            tag: derive(b"stanchion-lb session v1 tag"),
            stream: derive(b"stanchion-lb session v1 stream"),
        }
    }

    /// Seals for the use that `name` tells; it opens for no other.
    pub(super) fn seal(&self, name: &str, plain: &[u8]) -> String {
        let mut sealed = self.tagged(name, plain).finalize().into_bytes()[..TAG].to_vec();
        sealed.extend_from_slice(plain);
        let (tag, bytes) = sealed.split_at_mut(TAG);
        self.hide(tag, bytes);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    pub(super) fn open(&self, name: &str, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, bytes) = sealed.split_at_checked(TAG)?;
        let mut plain = bytes.to_vec();
        self.hide(tag, &mut plain);
        // In constant time.
        let tagged = self.tagged(name, &plain).verify_truncated_left(tag);
        tagged.is_ok().then_some(plain)
    }

    fn tagged(&self, name: &str, plain: &[u8]) -> HmacSha256 {
        self.tag
            .clone()
            .chain_update((name.len() as u64).to_be_bytes())
            .chain_update(name)
            .chain_update(plain)
    }

    /// Hides the bytes, or shows them again.
    fn hide(&self, tag: &[u8], bytes: &mut [u8]) {
        for (block, number) in bytes.chunks_mut(32).zip(0_u64..) {
            let stream = self.stream.clone().chain_update(tag);
            let stream = stream.chain_update(number.to_be_bytes()).finalize();
            for (byte, mask) in block.iter_mut().zip(stream.into_bytes()) {
                *byte ^= mask;
            }
        }
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("a key of any length will do")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&[7; 32])
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again_and_shows_nothing(plain in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = sealer().seal("lb", &plain);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(sealer().open("lb", &text), Some(plain.clone()));
            prop_assert_eq!(sealer().open("other", &text), None);
            prop_assert_eq!(Sealer::new(&[8; 32]).open("lb", &text), None);
            let sealed = URL_SAFE_NO_PAD.decode(text).unwrap();
            let shown = sealed[TAG..].iter().zip(&plain).filter(|(one, other)| one == other).count();
            prop_assert!(shown <= 8 + plain.len() / 8, "{shown} of {}", plain.len());
        }

        #[test]
        fn no_other_text_opens(
            plain in prop::collection::vec(any::<u8>(), 0..50),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u8,
            noise in "[ -~]{0,80}",
        ) {
            let mut sealed = URL_SAFE_NO_PAD.decode(sealer().seal("lb", &plain)).unwrap();
            let place = place.index(sealed.len());
            sealed[place] ^= 1_u8 << bit;
            prop_assert_eq!(sealer().open("lb", &URL_SAFE_NO_PAD.encode(&sealed)), None);
            prop_assert_eq!(sealer().open("lb", &noise), None);
        }
    }

    /// A cookie is good after a restart and an upgrade: this text stays for good. It was computed by
    /// another implementation of HMAC, from the description above.
    #[test]
    fn the_text_is_frozen() {
        let text = sealer().seal("lb", b"\0\0\0\0\0\0\0\x07web-1");
        assert_eq!(text, "xn4T5zc05G6yMwQCT8mbZPQh6QAsMuprh0qoOKM");
    }

    #[test]
    fn long_texts_are_not_looked_at() {
        let text = sealer().seal("lb", &[0; 800]);
        assert!(text.len() > TEXT_MAX);
        assert_eq!(sealer().open("lb", &text), None);
    }
}
