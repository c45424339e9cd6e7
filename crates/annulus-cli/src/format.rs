//! Formats of records, in the letters of Python's struct module.

use std::io::Write;
use std::str::FromStr;

use crate::tail::text;

/// No ring takes a longer record.
const LONGEST: u64 = 1 << 40;

/// What the bytes of a record mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Format {
    big_endian: bool,
    parts: Vec<Part>,
    len: u64,
}

/// So many of a kind, in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Skip(u64),
    Text(u64),
    Numbers(u64, Number),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Number {
    fn bytes(self) -> u64 {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

impl Part {
    fn bytes(self) -> Option<u64> {
        match self {
            Self::Skip(n) | Self::Text(n) => Some(n),
            Self::Numbers(n, number) => n.checked_mul(number.bytes()),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(format: &str) -> Result<Self, String> {
        let (big_endian, rest) = match format.strip_prefix('>') {
            Some(rest) => (true, rest),
            None => (false, format.strip_prefix('<').unwrap_or(format)),
        };
        let (mut parts, mut len, mut count) = (Vec::new(), 0_u64, None::<u64>);
        let long = || "it describes more bytes than any record has".to_owned();
        for c in rest.chars() {
            if let Some(digit) = c.to_digit(10) {
                let more = count.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit.into()));
                count = Some(more.ok_or_else(long)?);
                continue;
            }
            if c == ' ' && count.is_none() {
                continue;
            }
            let n = count.take().unwrap_or(1);
            let part = match c {
                'x' => Part::Skip(n),
                's' => Part::Text(n),
                'b' => Part::Numbers(n, Number::I8),
                'B' => Part::Numbers(n, Number::U8),
                'h' => Part::Numbers(n, Number::I16),
                'H' => Part::Numbers(n, Number::U16),
                'i' => Part::Numbers(n, Number::I32),
                'I' => Part::Numbers(n, Number::U32),
                'q' => Part::Numbers(n, Number::I64),
                'Q' => Part::Numbers(n, Number::U64),
                'f' => Part::Numbers(n, Number::F32),
                'd' => Part::Numbers(n, Number::F64),
                _ => return Err(format!("`{}` is not one of b B h H i I q Q f d x s", c.escape_debug())),
            };
            let bytes = part.bytes().and_then(|bytes| len.checked_add(bytes));
            len = bytes.filter(|len| *len <= LONGEST).ok_or_else(long)?;
            parts.push(part);
        }
        match count {
            Some(n) => Err(format!("behind the {n} at its end a letter is missing")),
            None if parts.is_empty() => Err("it is empty; say at least one field, as in `Q`".to_owned()),
            None => Ok(Self { big_endian, parts, len }),
        }
    }
}

impl Format {
    /// Bytes of a record.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Prints the fields of a record of that length, with a blank between them.
    pub(crate) fn print(&self, mut bytes: &[u8], line: &mut Vec<u8>) {
        let mut first = true;
        let mut begin = |line: &mut Vec<u8>| {
            if !first {
                line.push(b' ');
            }
            first = false;
        };
        let mut take = |n: u64| {
            // The record is as long as the format, so there are so many.
            let (taken, rest) = bytes.split_at(bytes.len().min(n as usize));
            bytes = rest;
            taken
        };
        for part in &self.parts {
            match *part {
                Part::Skip(n) => {
                    take(n);
                }
                Part::Text(n) => {
                    let field = take(n);
                    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
                    begin(line);
                    text(&field[..end], line);
                }
                Part::Numbers(n, number) => {
                    for _ in 0..n {
                        begin(line);
                        self.number(number, take(number.bytes()), line);
                    }
                }
            }
        }
    }

    fn number(&self, number: Number, bytes: &[u8], line: &mut Vec<u8>) {
        // Eight bytes, of which the number's are the first, little endian.
        let mut word = [0; 8];
        for (i, byte) in bytes.iter().enumerate() {
            word[if self.big_endian { bytes.len() - 1 - i } else { i }] = *byte;
        }
        let word = u64::from_le_bytes(word);
        let written = match number {
            Number::I8 => write!(line, "{}", word as i8),
            Number::I16 => write!(line, "{}", word as i16),
            Number::I32 => write!(line, "{}", word as i32),
            Number::I64 => write!(line, "{}", word as i64),
            Number::U8 | Number::U16 | Number::U32 | Number::U64 => write!(line, "{word}"),
            Number::F32 => write!(line, "{}", f32::from_bits(word as u32)),
            Number::F64 => write!(line, "{}", f64::from_bits(word)),
        };
        debug_assert!(written.is_ok(), "into memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: &str, bytes: &[u8]) -> String {
        let format: Format = format.parse().unwrap();
        assert_eq!(format.len(), bytes.len() as u64);
        let mut line = Vec::new();
        format.print(bytes, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn numbers_of_all_kinds() {
        let bytes = [0xff; 30];
        assert_eq!(printed("bBhHiIqQ", &bytes), "-1 255 -1 65535 -1 4294967295 -1 18446744073709551615");
        assert_eq!(printed("<2H", &[1, 2, 3, 4]), "513 1027");
        assert_eq!(printed(">2H", &[1, 2, 3, 4]), "258 772");
        assert_eq!(printed("> b i", &[0x80, 0x80, 0, 0, 1]), "-128 -2147483647");
        let floats = [0.5_f32.to_le_bytes().as_slice(), &(-9.81_f64).to_le_bytes()].concat();
        assert_eq!(printed("fd", &floats), "0.5 -9.81");
        let floats = [0.5_f32.to_be_bytes().as_slice(), &f64::NAN.to_be_bytes()].concat();
        assert_eq!(printed(">fd", &floats), "0.5 NaN");
    }

    #[test]
    fn text_padding_and_counts() {
        assert_eq!(printed("4s2xB", b"ab\0dXX\x07"), "ab 7");
        assert_eq!(printed("3s 0s s", b"a\nb\xff"), "a\\nb  \u{fffd}");
        assert_eq!(printed("0Q3B", &[1, 2, 3]), "1 2 3");
        assert_eq!(printed("2x", &[1, 2]), "");
        // The example in the help.
        let mut bytes = 17_u64.to_le_bytes().to_vec();
        bytes.extend([0.5_f32, -1.0, 9.81].iter().flat_map(|x| x.to_le_bytes()));
        assert_eq!(printed("<Q3f", &bytes), "17 0.5 -1 9.81");
    }

    #[test]
    fn formats_that_are_none() {
        for (format, words) in [
            ("", "it is empty"),
            ("<", "it is empty"),
            ("B<", "`<` is not one of"),
            ("@B", "`@` is not one of"),
            ("é", "`é` is not one of"),
            ("-1B", "`-` is not one of"),
            ("3 B", "` ` is not one of"),
            ("B12", "behind the 12"),
            ("2000000000000B", "more bytes"),
            ("2305843009213693952Q", "more bytes"),
            ("99999999999999999999999s", "more bytes"),
            ("1099511627776s1s", "more bytes"),
        ] {
            let error = format.parse::<Format>().unwrap_err();
            assert!(error.contains(words), "{format}: {error}");
        }
    }
}
