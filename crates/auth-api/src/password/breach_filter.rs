use std::io::{self, BufRead, Read, Write};

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use xorf::{BinaryFuse16, Descriptor, Filter as _};

/// The file begins with this.
const MAGIC: &[u8; 8] = b"FABREACH";
/// The one format there is: keys are the first 64 bits of a SHA-1, fingerprints have 16 bits.
const VERSION: u32 = 1;
const SHA1_BYTES: usize = 20;
const CHUNK_FINGERPRINTS: usize = 32_768;

/// The passwords of known breaches, as a binary fuse filter: it never misses one, and takes one in 65 536 others for one of them (0.0015 %).
/// It needs 2.25 bytes a password, in the file and in memory, and contains no password and no hash of one.
///
/// The file, little-endian: `FABREACH`, version (u32), number of passwords (u64), least number of times that each was seen (u64), seed (u64),
/// segment length, its mask and the length of all segments (u32 each), number of fingerprints (u64), the fingerprints (u16 each), SHA-256 of
/// everything before.
#[derive(Debug)]
pub struct BreachFilter {
    filter: BinaryFuse16,
    passwords: u64,
    min_count: u64,
}

/// Why a list of hashes makes no filter.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The list could not be read.
    #[error("the list cannot be read")]
    Read(#[from] io::Error),
    /// A line is something else.
    #[error("line {0} is not a SHA-1 in hexadecimal, perhaps followed by a colon and a number")]
    Line(u64),
    /// The list is empty, or the least number of times too large.
    #[error("no hash is left to put into a filter")]
    Empty,
    /// The construction failed.
    #[error("the filter cannot be made: {0}")]
    Construction(&'static str),
}

/// Why a file is no filter.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The file is something else.
    #[error("is not a breach filter; make one with `auth-api breach-filter build`")]
    NotAFilter,
    /// The file was made by another release.
    #[error("is a breach filter of version {0}; make it anew with `auth-api breach-filter build`")]
    Version(u32),
    /// The file was changed or cut off.
    #[error("is damaged; make it anew with `auth-api breach-filter build`")]
    Damaged,
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damaged } else { Self::Read(error) }
    }
}

/// SHA-1, by which breached passwords are published; it protects nothing here.
pub(super) fn sha1(password: &[u8]) -> [u8; SHA1_BYTES] {
    Sha1::digest(password).into()
}

impl BreachFilter {
    /// Reads lines of a SHA-1 in hexadecimal, each perhaps with `:` and how often the password was seen; keeps those that were seen `min_count`
    /// times. A line without a number was seen once. Needs 8 bytes a password while it reads, and about 40 more while it constructs.
    pub fn build(mut lines: impl BufRead, min_count: u64) -> Result<Self, BuildError> {
        let (mut keys, mut line, mut number) = (Vec::new(), Vec::new(), 0);
        while lines.read_until(b'\n', &mut line)? > 0 {
            number += 1;
            let text = line.trim_ascii();
            if !text.is_empty() {
                let (key, count) = parse_line(text).ok_or(BuildError::Line(number))?;
                if count >= min_count {
                    keys.push(key);
                }
            }
            line.clear();
        }
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Err(BuildError::Empty);
        }
        let filter = BinaryFuse16::try_from(&keys).map_err(BuildError::Construction)?;
        Ok(Self { filter, passwords: keys.len() as u64, min_count })
    }

    /// How many passwords it knows.
    #[must_use]
    pub fn passwords(&self) -> u64 {
        self.passwords
    }

    /// How often each of them was seen at least.
    #[must_use]
    pub fn min_count(&self) -> u64 {
        self.min_count
    }

    /// Whether `password` is among the breached ones; once in 65 536 times for one that is not.
    #[must_use]
    pub fn contains(&self, password: &[u8]) -> bool {
        self.filter.contains(&key_of(&sha1(password)))
    }

    /// Writes the file.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = Checked::new(out);
        let Descriptor { seed, segment_length, segment_length_mask, segment_count_length } =
            self.filter.descriptor;
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        for number in [self.passwords, self.min_count, seed] {
            out.write_all(&number.to_le_bytes())?;
        }
        for number in [segment_length, segment_length_mask, segment_count_length] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&(self.filter.fingerprints.len() as u64).to_le_bytes())?;
        for chunk in self.filter.fingerprints.chunks(CHUNK_FINGERPRINTS) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        let checksum = out.checksum();
        out.inner.write_all(&checksum)?;
        out.inner.flush()
    }

    /// Reads the file and checks all of it.
    pub fn read(input: impl Read) -> Result<Self, LoadError> {
        let mut input = Checked::new(input);
        if input.array::<8>()? != *MAGIC {
            return Err(LoadError::NotAFilter);
        }
        let version = u32::from_le_bytes(input.array()?);
        if version != VERSION {
            return Err(LoadError::Version(version));
        }
        let passwords = u64::from_le_bytes(input.array()?);
        let min_count = u64::from_le_bytes(input.array()?);
        let descriptor = Descriptor {
            seed: u64::from_le_bytes(input.array()?),
            segment_length: u32::from_le_bytes(input.array()?),
            segment_length_mask: u32::from_le_bytes(input.array()?),
            segment_count_length: u32::from_le_bytes(input.array()?),
        };
        let fingerprints = input.fingerprints(&descriptor)?;
        let expected = input.checksum();
        let mut checksum = [0; 32];
        input.inner.read_exact(&mut checksum)?;
        if checksum != expected || input.inner.read(&mut [0])? != 0 {
            return Err(LoadError::Damaged);
        }
        Ok(Self { filter: BinaryFuse16 { descriptor, fingerprints }, passwords, min_count })
    }
}

fn parse_line(text: &[u8]) -> Option<(u64, u64)> {
    let (hash, rest) = text.split_at_checked(SHA1_BYTES * 2)?;
    let mut digest = [0; SHA1_BYTES];
    hex::decode_to_slice(hash, &mut digest).ok()?;
    let count = match rest.split_first() {
        None => 1,
        Some((b':', count)) => std::str::from_utf8(count).ok()?.trim().parse().ok()?,
        Some(_) => return None,
    };
    Some((key_of(&digest), count))
}

fn key_of(digest: &[u8; SHA1_BYTES]) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Hashes what goes through.
struct Checked<I> {
    inner: I,
    hash: Sha256,
}

impl<I> Checked<I> {
    fn new(inner: I) -> Self {
        Self { inner, hash: Sha256::default() }
    }

    fn checksum(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}

impl<O: Write> Checked<O> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<I: Read> Checked<I> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    /// As many as the descriptor needs: a look-up with any other number would reach beyond them.
    fn fingerprints(&mut self, descriptor: &Descriptor) -> Result<Box<[u16]>, LoadError> {
        let announced = u64::from_le_bytes(self.array()?);
        let Descriptor { segment_length, segment_length_mask, segment_count_length, .. } = *descriptor;
        let is_consistent = segment_length.is_power_of_two()
            && segment_length_mask == segment_length - 1
            && segment_count_length % segment_length == 0
            && announced == u64::from(segment_count_length) + 2 * u64::from(segment_length);
        if !is_consistent {
            return Err(LoadError::Damaged);
        }
        let announced = usize::try_from(announced).map_err(|_| LoadError::Damaged)?;
        let mut fingerprints = Vec::new();
        fingerprints.try_reserve_exact(announced).map_err(|_| LoadError::Damaged)?;
        let mut bytes = vec![0; CHUNK_FINGERPRINTS * 2];
        while fingerprints.len() < announced {
            let wanted = (announced - fingerprints.len()).min(CHUNK_FINGERPRINTS) * 2;
            let chunk = bytes.get_mut(..wanted).unwrap_or_default();
            self.inner.read_exact(chunk)?;
            self.hash.update(&*chunk);
            fingerprints.extend(chunk.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)));
        }
        Ok(fingerprints.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize) -> String {
        let line =
            |number| format!("{}:{number}", hex::encode_upper(sha1(format!("password {number}").as_bytes())));
        (0..count).map(line).collect::<Vec<_>>().join("\r\n") + "\r\n"
    }

    fn written(filter: &BreachFilter) -> Vec<u8> {
        let mut file = Vec::new();
        filter.write(&mut file).unwrap();
        file
    }

    #[test]
    fn a_filter_knows_every_password_of_the_list_and_hardly_any_other() {
        let filter = BreachFilter::build(list(20_000).as_bytes(), 0).unwrap();
        let filter = BreachFilter::read(written(&filter).as_slice()).unwrap();
        assert_eq!(filter.passwords(), 20_000);
        assert!((0..20_000).all(|number| filter.contains(format!("password {number}").as_bytes())));
        let mistaken =
            (20_000..120_000).filter(|number| filter.contains(format!("password {number}").as_bytes()));
        // 1.5 are expected; more than twelve would happen once in 10^7 runs, if the list were not the same in each.
        assert!(mistaken.count() <= 12);
        assert!(written(&filter).len() < 20_000 * 5 / 2 + 10_000);
    }

    #[test]
    fn rare_and_repeated_hashes_are_left_out() {
        let twice = format!("{}{}", list(100), list(100).to_lowercase());
        let filter = BreachFilter::build(twice.as_bytes(), 90).unwrap();
        assert_eq!((filter.passwords(), filter.min_count()), (10, 90));
        let one = BreachFilter::build(hex::encode(sha1(b"one")).as_bytes(), 1).unwrap();
        assert!(BreachFilter::read(written(&one).as_slice()).unwrap().contains(b"one"));
    }

    #[test]
    fn a_list_of_anything_else_is_refused_by_its_line() {
        for (text, line) in [("password\n", 1), (&format!("{}\nabc:3", hex::encode(sha1(b"one"))), 2)] {
            assert!(
                matches!(BreachFilter::build(text.as_bytes(), 1), Err(BuildError::Line(at)) if at == line)
            );
        }
        for tail in [":", ":x", ":-1", "00", ":1:2"] {
            let text = format!("{}{tail}", hex::encode(sha1(b"one")));
            assert!(matches!(BreachFilter::build(text.as_bytes(), 1), Err(BuildError::Line(1))), "{tail}");
        }
        assert!(matches!(BreachFilter::build(&b"\n\n"[..], 1), Err(BuildError::Empty)));
        assert!(matches!(BreachFilter::build(list(5).as_bytes(), 9), Err(BuildError::Empty)));
    }

    #[test]
    fn a_changed_cut_or_longer_file_is_refused() {
        let file = written(&BreachFilter::build(list(50).as_bytes(), 0).unwrap());
        for index in (0..file.len()).step_by(7) {
            let mut changed = file.clone();
            changed[index] ^= 1;
            assert!(BreachFilter::read(changed.as_slice()).is_err(), "byte {index}");
            assert!(BreachFilter::read(&file[..index]).is_err(), "cut at {index}");
        }
        assert!(matches!(BreachFilter::read([&file[..], b"x"].concat().as_slice()), Err(LoadError::Damaged)));
        let mut newer = file;
        newer[8] = 2;
        assert!(matches!(BreachFilter::read(newer.as_slice()), Err(LoadError::Version(2))));
        assert!(matches!(BreachFilter::read(&b"something else"[..]), Err(LoadError::NotAFilter)));
    }
}
