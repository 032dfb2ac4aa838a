//! Crockford base32 whose text sorts as its bytes do. Fixed widths only: 16 bytes are 26 characters, 12 bytes are 20.

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The text of `bytes`, most significant digit first, the last digit padded with zero bits.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut held, mut bits) = (0_u16, 0);
    for byte in bytes {
        held = (held << 8) | u16::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(DIGITS[usize::from(held >> bits) & 31] as char);
        }
    }
    if bits > 0 {
        text.push(DIGITS[usize::from(held << (5 - bits)) & 31] as char);
    }
    text
}

/// The bytes of `text`; `None` unless it is exactly what [`encode`] writes for `N` bytes.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = [0; N];
    let (mut held, mut bits, mut at) = (0_u16, 0, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|d| *d == digit)?;
        held = (held << 5) | value as u16;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes[at] = (held >> bits) as u8;
            at += 1;
        }
    }
    let padding_is_zero = held & ((1 << bits) - 1) == 0;
    padding_is_zero.then_some(bytes)
}
