//! Readers that copy: subscribers and observers.

use std::time::Duration;

use annulus::{
    CopyError, CopyTimeoutError, CopyingSubscriber, Observer, Received, RecvError, Resume, Start,
    TryCopyError,
};

use crate::read::{Next, Reader};
use crate::wire::{Frame, Kind};

/// One look in so many is for the newest record, of observers that look for it.
const NEWEST_ONE_IN: u64 = 50;

/// The same verbs for both.
macro_rules! copying_loop {
    ($name:ident, $handle:ty, $kind:expr, $open:ident, $newest:expr) => {
        pub(crate) fn $name(reader: &mut Reader, start: Start) -> Result<Next, String> {
            let resume = reader.random().pick(&[Resume::Oldest, Resume::Newest]);
            let how = |open: annulus::Open| open.resume(resume).$open();
            let Some(mut rx) = reader.open($kind, start, how, <$handle>::sequence)? else {
                return Ok(Next::Leave);
            };
            let newest = $newest && reader.random().one_in(3);
            let mut buf = Vec::new();
            let mut fixed = vec![0; reader.part.plan.max_len()];
            loop {
                if newest && reader.random().one_in(NEWEST_ONE_IN) {
                    let got = rx.latest(&mut fixed);
                    if let Ok(received) = got {
                        let frame = frame_of(received, true);
                        reader.put_with(frame, &fixed[..received.len])?;
                        continue;
                    }
                    if let Got::End(end) = tried(got) {
                        match reader.ended(end, rx.sequence())? {
                            Next::SameHandle => continue,
                            next => return Ok(next),
                        }
                    }
                    if let Got::Lagged(lost) = tried(got) {
                        reader.put(Frame::Lagged { lost })?;
                    }
                }
                // Some find out first how long the next record is.
                let mut got = if reader.random().one_in(40) {
                    tried(rx.try_recv(&mut []))
                } else {
                    let got = tried(rx.try_recv(&mut fixed));
                    if got == Got::Nothing {
                        reader.flush()?;
                    }
                    got
                };
                let mut grown = false;
                if got == Got::Nothing {
                    grown = true;
                    got = match reader.random().below(4) {
                        0 => tried(rx.try_recv_into(&mut buf)),
                        1 | 2 => ended(rx.recv_into(&mut buf)),
                        _ => {
                            let patience = reader.random().up_to(Duration::from_millis(3));
                            timed(rx.recv_into_timeout(&mut buf, patience))
                        }
                    };
                }
                match got {
                    Got::Record(received) => {
                        let bytes = if grown { &buf[..] } else { &fixed[..received.len] };
                        reader.put_with(frame_of(received, false), bytes)?;
                        if reader.has_enough() {
                            return reader.dropped(rx.sequence());
                        }
                    }
                    Got::Lagged(lost) => reader.put(Frame::Lagged { lost })?,
                    Got::TooSmall(need) => reader.put(Frame::TooSmall { need })?,
                    Got::Nothing => {}
                    Got::End(end) => match reader.ended(end, rx.sequence())? {
                        Next::SameHandle => {}
                        next => return Ok(next),
                    },
                    Got::Unknown => return Err("an error of a kind that this program does not know".into()),
                }
            }
        }
    };
}

copying_loop!(subscribe, CopyingSubscriber, Kind::Copying, subscribe_copying, false);
copying_loop!(observe, Observer, Kind::Observer, observe, true);

/// What one of the verbs said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Record(Received),
    Lagged(u64),
    TooSmall(u64),
    Nothing,
    End(RecvError),
    Unknown,
}

fn frame_of(received: Received, newest: bool) -> Frame {
    let (sequence, stamp, len) = (received.sequence, received.time().unwrap_or(0), received.len as u64);
    if newest { Frame::Newest { sequence, stamp, len } } else { Frame::Got { sequence, stamp, len } }
}

fn tried(got: Result<Received, TryCopyError>) -> Got {
    match got {
        Ok(received) => Got::Record(received),
        Err(TryCopyError::Empty) => Got::Nothing,
        Err(TryCopyError::Lagged(lost)) => Got::Lagged(lost),
        Err(TryCopyError::TooSmall { need }) => Got::TooSmall(need as u64),
        Err(TryCopyError::Ended(end)) => Got::End(end),
        Err(_) => Got::Unknown,
    }
}

fn timed(got: Result<Received, CopyTimeoutError>) -> Got {
    match got {
        Ok(received) => Got::Record(received),
        Err(CopyTimeoutError::TimedOut) => Got::Nothing,
        Err(CopyTimeoutError::Lagged(lost)) => Got::Lagged(lost),
        Err(CopyTimeoutError::TooSmall { need }) => Got::TooSmall(need as u64),
        Err(CopyTimeoutError::Ended(end)) => Got::End(end),
        Err(_) => Got::Unknown,
    }
}

fn ended(got: Result<Received, CopyError>) -> Got {
    match got {
        Ok(received) => Got::Record(received),
        Err(CopyError::Lagged(lost)) => Got::Lagged(lost),
        Err(CopyError::TooSmall { need }) => Got::TooSmall(need as u64),
        Err(CopyError::Ended(end)) => Got::End(end),
        Err(_) => Got::Unknown,
    }
}
