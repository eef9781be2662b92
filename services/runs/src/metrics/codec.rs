//! The bytes of a batch: per key its name, then columns of steps, times and values, so that one key is read without the
//! others.
//!
//! ```text
//! version u8 | keys varint | { name length varint, name, points varint, body length varint, body }… | checksum 8
//! body = steps (zigzag of the difference to the one before, varint) | times (the same) | values (8 bytes of a double,
//! little endian)
//! ```
//! The checksum is the first 8 bytes of the BLAKE3 hash of everything before it.

use crate::run::report::SentPoint;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
/// Bytes of a point that are always there.
const VALUE_BYTES: usize = 8;

/// A point as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredPoint {
    /// The step.
    pub step: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// May be NaN or infinite.
    pub value: f64,
}

/// Why stored bytes are not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The checksum does not fit the bytes.
    #[error("the checksum of a metric batch is wrong; other batches are not affected")]
    Checksum,
    /// The bytes do not follow the format although the checksum fits.
    #[error("a metric batch does not follow its format")]
    Format,
}

/// Encodes keys with their points; a point without a step counts as step 0 and must not come here.
pub fn encode<'a>(keys: impl ExactSizeIterator<Item = (&'a str, &'a [SentPoint])>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.push(VERSION);
    put(&mut out, keys.len() as u64);
    let mut body = Vec::new();
    for (name, points) in keys {
        put(&mut out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        put(&mut out, points.len() as u64);
        body.clear();
        put_differences(&mut body, points.iter().map(|point| point.step.unwrap_or_default()));
        put_differences(&mut body, points.iter().map(|point| point.timestamp_ms));
        body.extend(points.iter().flat_map(|point| point.value.to_bits().to_le_bytes()));
        put(&mut out, body.len() as u64);
        out.extend_from_slice(&body);
    }
    let checksum = checksum(&out);
    out.extend_from_slice(&checksum);
    out
}

/// Calls `found` with the points of each wanted key.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode(
    data: &[u8],
    wanted: impl Fn(&str) -> bool,
    mut found: impl FnMut(&str, Vec<StoredPoint>),
) -> Result<(), Damaged> {
    let split = data.len().checked_sub(CHECKSUM_BYTES).ok_or(Damaged::Format)?;
    let (bytes, stored) = data.split_at(split);
    if checksum(bytes) != stored {
        return Err(Damaged::Checksum);
    }
    let mut input = Input(bytes);
    if input.take(1)? != [VERSION] {
        return Err(Damaged::Format);
    }
    for _ in 0..input.number()? {
        let length = input.length()?;
        let name = std::str::from_utf8(input.take(length)?).map_err(|_| Damaged::Format)?;
        let points = input.length()?;
        let length = input.length()?;
        let body = input.take(length)?;
        if wanted(name) {
            found(name, decode_body(body, points)?);
        }
    }
    Ok(())
}

fn decode_body(body: &[u8], count: usize) -> Result<Vec<StoredPoint>, Damaged> {
    // Each point has at least its value's bytes, so the count cannot ask for more memory than the row has.
    if count > body.len() / VALUE_BYTES {
        return Err(Damaged::Format);
    }
    let mut input = Input(body);
    let mut points = vec![StoredPoint { step: 0, timestamp_ms: 0, value: 0.0 }; count];
    let mut last = 0;
    for point in &mut points {
        last = input.difference(last)?;
        point.step = last;
    }
    last = 0;
    for point in &mut points {
        last = input.difference(last)?;
        point.timestamp_ms = last;
    }
    for point in &mut points {
        let bytes = input.take(VALUE_BYTES)?.try_into().map_err(|_| Damaged::Format)?;
        point.value = f64::from_bits(u64::from_le_bytes(bytes));
    }
    Ok(points)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut short = [0; CHECKSUM_BYTES];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM_BYTES]);
    short
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_differences(out: &mut Vec<u8>, numbers: impl Iterator<Item = i64>) {
    let mut last = 0i64;
    for number in numbers {
        let difference = number.wrapping_sub(last);
        put(out, ((difference << 1) ^ (difference >> 63)) as u64);
        last = number;
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged::Format)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged::Format)
    }

    fn length(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.number()?).map_err(|_| Damaged::Format)
    }

    fn difference(&mut self, last: i64) -> Result<i64, Damaged> {
        let zigzag = self.number()?;
        Ok(last.wrapping_add(((zigzag >> 1) as i64) ^ -((zigzag & 1) as i64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(data: &[u8]) -> Result<Vec<(String, Vec<StoredPoint>)>, Damaged> {
        let mut found = Vec::new();
        decode(data, |_| true, |name, points| found.push((name.to_owned(), points)))?;
        Ok(found)
    }

    #[test]
    fn what_is_read_has_the_bits_that_were_written() {
        // A user's values must come back to the last bit, NaN payloads and extreme steps too.
        let values = [0.1, -0.0, f64::NAN, f64::from_bits(0x7ff8_0000_dead_beef), f64::NEG_INFINITY, f64::MIN_POSITIVE];
        let steps = [i64::MIN, i64::MAX, 0, -1, 1, 1];
        let points: Vec<_> = values
            .iter()
            .zip(steps)
            .map(|(&value, step)| SentPoint { step: Some(step), timestamp_ms: step.wrapping_mul(3), value })
            .collect();
        let data = encode([("loss", points.as_slice()), ("äöü", &points[..1]), ("none", &[])].into_iter());
        let read = all(&data).unwrap();
        assert_eq!(
            read.iter().map(|(name, points)| (name.as_str(), points.len())).collect::<Vec<_>>(),
            [("loss", 6), ("äöü", 1), ("none", 0)]
        );
        for (sent, stored) in points.iter().zip(&read[0].1) {
            assert_eq!(sent.step, Some(stored.step));
            assert_eq!(sent.timestamp_ms, stored.timestamp_ms);
            assert_eq!(sent.value.to_bits(), stored.value.to_bits());
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_wherever_it_is() {
        // A damaged disk must lead to a refusal, not to another curve.
        let points = [SentPoint { step: Some(7), timestamp_ms: 1_700_000_000_000, value: 0.5 }; 3];
        let data = encode([("acc", points.as_slice())].into_iter());
        for place in 0..data.len() {
            let mut damaged = data.clone();
            damaged[place] ^= 0x10;
            assert_eq!(all(&damaged), Err(Damaged::Checksum), "byte {place}");
        }
        assert!(all(&data[..4]).is_err() && all(&[]).is_err());
    }
}
