//! Numbers with units, as they are written in arguments.

use std::time::Duration;

use annulus::Start;

/// A number of bytes, as in `4096`, `64K`, `1M`, `2G`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let wrong =
        |_| "a number of bytes is needed, with K, M or G behind it or nothing, as in `64K`".to_owned();
    let number: usize = digits.parse().map_err(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(|| "no machine has so many bytes".to_owned())
}

/// The same, from one byte on.
pub(crate) fn some_bytes(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        0 => Err("at least one byte is needed".to_owned()),
        n => Ok(n),
    }
}

/// How many, as in `500`, `10k`, `2M`: thousands and millions.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = thousands(text);
    let number: Option<u64> = digits.parse().ok();
    let wrong =
        || "a whole number is needed, with k, M or G (of 1000) behind it or nothing, as in `10k`".into();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

/// How many in a second, as in `1000`, `0.5`, `10k`, `2M`: more than none.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (digits, unit) = thousands(text);
    let rate = digits.parse::<f64>().ok().map(|number| number * unit as f64);
    // A thousand million a second is one a nanosecond; once in a day is the other end.
    let possible = |rate: &f64| (1e-5..=1e9).contains(rate);
    let wrong =
        || "a number of records per second is needed, from 0.00001 to 1G, as in `0.5`, `100` or `10k`";
    rate.filter(possible).ok_or_else(|| wrong().to_owned())
}

fn thousands(text: &str) -> (&str, u64) {
    match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    }
}

/// A time, as in `5`, `0.5`, `5s`, `100ms`, `20us`, `2m`, `1h`; seconds if nothing is said.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 6] =
        [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (digits, unit) = unit.unwrap_or((text, 1.0));
    // Only digits: a float may also be `inf`, `nan` or `1e9`.
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: Option<f64> = digits.parse().ok().filter(|_| plain);
    let time = number.and_then(|number| Duration::try_from_secs_f64(number * unit).ok());
    time.ok_or_else(|| {
        "a time is needed, in seconds or with ns, us, ms, s, m or h, as in `5` or `100ms`".into()
    })
}

/// The same, longer than none.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a time longer than none is needed, as in `1s`".to_owned()),
        time => Ok(time),
    }
}

/// Where a reader begins.
pub(crate) fn start(text: &str) -> Result<Start, String> {
    let start = match text {
        "oldest" => Some(Start::Oldest),
        "newest" => Some(Start::Newest),
        _ => match text.strip_prefix('-') {
            Some(last) => last.parse().ok().map(Start::Last),
            None => text.parse().ok().map(Start::Sequence),
        },
    };
    let wrong = || {
        "`oldest`, `newest`, a record's number or -N is needed, as in `17`, or `-5` for the last five".into()
    };
    start.ok_or_else(wrong)
}

/// So many bytes, or such a part of a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    Bytes(u64),
    Percent(f64),
}

impl Limit {
    /// In bytes of a ring.
    pub(crate) fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as u64,
        }
    }
}

/// A limit, as in `4096`, `64K`, `50%`.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    let wrong = |_| "a number of bytes or a part of the ring is needed, as in `64K` or `50%`".to_owned();
    match text.strip_suffix('%') {
        None => Ok(Limit::Bytes(bytes(text).map_err(wrong)? as u64)),
        Some(number) => match number.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Limit::Percent(percent)),
            _ => Err("a part of the ring is 0% to 100%".to_owned()),
        },
    }
}

/// Modes of a ring's two files, as in `0644` or `0644,0660`.
pub(crate) fn modes(text: &str) -> Result<(u32, Option<u32>), String> {
    let octal = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o777 == 0);
    let modes = match text.split_once(',') {
        None => octal(text).map(|data| (data, None)),
        Some((data, ctl)) => octal(data).zip(octal(ctl)).map(|(data, ctl)| (data, Some(ctl))),
    };
    modes.ok_or_else(|| "one or two octal modes are needed, as in `0644` or `0644,0660`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_suffixes() {
        for (text, n) in
            [("0", 0), ("4096", 4096), ("64K", 65_536), ("64k", 65_536), ("3M", 3 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(bytes(text), Ok(n), "{text}");
        }
        assert_eq!(bytes("18446744073709551615"), Ok(usize::MAX));
        for text in ["", "K", "1KB", "-1", "1.5M", " 1", "18446744073709551615K", "99999999999999999999", "é"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_and_rates_are_decimal() {
        assert_eq!(
            [count("0"), count("10k"), count("2M"), count("3G")],
            [0, 10_000, 2_000_000, 3_000_000_000].map(Ok)
        );
        assert_eq!([rate("0.5"), rate("10k"), rate("1.5M")], [0.5, 10_000.0, 1_500_000.0].map(Ok));
        for text in ["", "k", "-1", "1.5", "1T", "99999999999999999G"] {
            assert!(count(text).is_err(), "{text}");
        }
        for text in ["", "0", "-1", "nan", "inf", "2G", "1/s", "0.000001"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let millis =
            [("5", 5000), ("0.5", 500), ("5s", 5000), ("100ms", 100), ("2m", 120_000), ("1h", 3_600_000)];
        for (text, n) in millis {
            assert_eq!(duration(text), Ok(Duration::from_millis(n)), "{text}");
        }
        assert_eq!(duration("20us"), Ok(Duration::from_micros(20)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(some_time("0s").is_err() && some_time("1ns").is_ok());
        for text in ["", "s", "-1", "1e3", "inf", "nan", "5 s", "5d", "1.2.3", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn starts() {
        for (text, at) in [
            ("oldest", Start::Oldest),
            ("newest", Start::Newest),
            ("0", Start::Sequence(0)),
            ("18446744073709551615", Start::Sequence(u64::MAX)),
            ("-5", Start::Last(5)),
        ] {
            assert_eq!(start(text), Ok(at), "{text}");
        }
        for text in ["", "-", "--5", "new", "1k", "-1.5"] {
            assert!(start(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_and_modes() {
        assert_eq!([limit("64K"), limit("12.5%")], [Limit::Bytes(65_536), Limit::Percent(12.5)].map(Ok));
        assert_eq!((Limit::Percent(12.5).of(4096), Limit::Bytes(7).of(4096)), (512, 7));
        for text in ["", "%", "101%", "-1%", "nan%", "some"] {
            assert!(limit(text).is_err(), "{text}");
        }
        assert_eq!(modes("0644"), Ok((0o644, None)));
        assert_eq!(modes("600,0666"), Ok((0o600, Some(0o666))));
        for text in ["", "0888", "01777", "644,", "u+r"] {
            assert!(modes(text).is_err(), "{text}");
        }
    }
}
