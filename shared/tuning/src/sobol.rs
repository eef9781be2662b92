//! Sobol points with 52 bits in up to 256 dimensions, and Owen's nested scrambling of them.
//!
//! The direction numbers are the first 256 dimensions of new-joe-kuo-6 (`new-joe-kuo-6.256.txt`), by Stephen Joe and
//! Frances Y. Kuo (2008, "Constructing Sobol sequences with better two-dimensional projections"), used under their
//! 3-clause BSD licence, which stands in `new-joe-kuo-6.LICENCE.txt` beside the table.

use std::sync::LazyLock;

/// Bits of a coordinate: `u = (k + 0.5) * 2^-52` is exact in a double.
pub(crate) const BITS: u32 = 52;
/// Dimensions in the table.
pub(crate) const DIMENSIONS: usize = crate::space::PARAMETERS_MAX;

type Directions = [u64; BITS as usize];

const TABLE: &str = include_str!("new-joe-kuo-6.256.txt");

static DIRECTIONS: LazyLock<Vec<Directions>> = LazyLock::new(|| {
    let first = std::array::from_fn(|bit| 1 << (BITS as usize - 1 - bit));
    std::iter::once(first).chain(TABLE.lines().skip(1).map(directions)).collect()
});

/// The 52 direction numbers of one line `d s a m_1 .. m_s` by Joe and Kuo's recurrence.
fn directions(line: &str) -> Directions {
    let mut numbers =
        line.split(' ').map(|field| field.parse::<u64>().expect("the committed table holds integers only"));
    let mut next = || numbers.next().expect("each line of the committed table has its d, s and a");
    let (_, degree, polynomial) = (next(), next() as usize, next());
    let mut v = [0_u64; BITS as usize];
    for (at, m) in numbers.enumerate() {
        v[at] = m << (BITS as usize - 1 - at);
    }
    for at in degree..BITS as usize {
        let before = v[at - degree];
        v[at] = (1..degree)
            .filter(|k| (polynomial >> (degree - 1 - k)) & 1 == 1)
            .fold(before ^ (before >> degree), |sum, k| sum ^ v[at - k]);
    }
    v
}

/// The unscrambled coordinate of a point, in natural order: the directions of the set bits of `index`, added without
/// carry.
pub(crate) fn coordinate(index: u64, dimension: usize) -> u64 {
    let directions = &DIRECTIONS[dimension];
    let mut rest = index & ((1 << BITS) - 1);
    let mut sum = 0;
    while rest != 0 {
        sum ^= directions[rest.trailing_zeros() as usize];
        rest &= rest - 1;
    }
    sum
}

/// The finaliser of Steele, Lea and Flood's generator (2014), with its increment first.
fn splitmix64(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Owen's nested scrambling. Bit b, counted from the top, is flipped by a bit that depends on the key and on the b bits
/// above it in the unscrambled number; `1 << b | those bits` numbers the nodes of the binary tree.
pub(crate) fn scramble(coordinate: u64, key: u64) -> u64 {
    (0..BITS).fold(0, |scrambled, bit| {
        let above = coordinate >> (BITS - bit);
        let flip = splitmix64(key ^ (1 << bit | above)) & 1;
        let digit = (coordinate >> (BITS - 1 - bit)) & 1;
        scrambled << 1 | (digit ^ flip)
    })
}

/// The key of a dimension, counted from 0.
pub(crate) fn dimension_key(seed: u64, dimension: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"trialog.sobol.1").update(&seed.to_le_bytes()).update(&dimension.to_le_bytes());
    first_eight(&hasher.finalize())
}

/// The first 8 bytes of a digest, little endian.
pub(crate) fn first_eight(digest: &blake3::Hash) -> u64 {
    u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy walks the same points in Gray order, so its point n is ours at n ^ (n >> 1).
    #[test]
    fn unscrambled_points_are_those_of_scipy() {
        let rows = include_str!("../tests/vectors/sobol-scipy.txt").lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for row in rows {
            let fields: Vec<u64> = row.split(' ').map(|field| field.parse().unwrap()).collect();
            let (n, dimension, want) = (fields[0], fields[1] as usize, fields[2]);
            assert_eq!(coordinate(n ^ (n >> 1), dimension), want, "point {n}, dimension {dimension}");
            count += 1;
        }
        assert!(count > 50);
        assert_eq!(DIRECTIONS.len(), DIMENSIONS);
    }

    /// Scrambling keeps what makes the points even: 64 points fall into 64 different slices of each dimension.
    #[test]
    fn scrambled_points_stay_stratified() {
        for dimension in 0..DIMENSIONS {
            let key = dimension_key(7, dimension as u32);
            let mut seen = [false; 64];
            for index in 0..64 {
                let slice = scramble(coordinate(index, dimension), key) >> (BITS - 6);
                assert!(!std::mem::replace(&mut seen[slice as usize], true), "dimension {dimension}");
            }
        }
    }

    #[test]
    fn splitmix_is_the_published_one() {
        assert_eq!(splitmix64(0), 0xE220_A839_7B1D_CDAF);
    }
}
