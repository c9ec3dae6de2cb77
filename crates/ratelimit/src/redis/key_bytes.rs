use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A key as bytes that stay the same over processes, versions and machines.
///
/// Text and bytes are themselves; numbers and addresses are their usual text, so that keys in Redis
/// can be read. `"7"` and `7` are the same key.
pub trait KeyBytes {
    /// The bytes.
    fn key_bytes(&self) -> Cow<'_, [u8]>;
}

macro_rules! as_they_are {
    ($($kind:ty),*) => {$(
        impl KeyBytes for $kind {
            fn key_bytes(&self) -> Cow<'_, [u8]> {
                Cow::Borrowed(self.as_ref())
            }
        }
    )*};
}

macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl KeyBytes for $kind {
            fn key_bytes(&self) -> Cow<'_, [u8]> {
                Cow::Owned(self.to_string().into_bytes())
            }
        }
    )*};
}

as_they_are!(str, String, [u8], Vec<u8>);
as_text!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, IpAddr, Ipv4Addr, Ipv6Addr
);

impl<const N: usize> KeyBytes for [u8; N] {
    fn key_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl<K: KeyBytes + ?Sized> KeyBytes for &K {
    fn key_bytes(&self) -> Cow<'_, [u8]> {
        (**self).key_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &(impl KeyBytes + ?Sized)) -> String {
        String::from_utf8(key.key_bytes().into_owned()).unwrap()
    }

    /// They are in use as names of keys in Redis.
    #[test]
    fn bytes_are_frozen() {
        assert_eq!(text("anna"), "anna");
        assert_eq!(text(b"anna"), "anna");
        assert_eq!(text(&7_u64), "7");
        assert_eq!(text(&-7_i32), "-7");
        let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(addresses.each_ref().map(text), ["127.0.0.1", "::1"]);
    }
}
